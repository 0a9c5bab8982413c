package duck

import (
	_ "embed"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/duck/ast"
)

//go:embed functions.txt
var functionsText string

// functions is what functions.txt says.
type functions struct {
	allowed map[string]bool // "table range", "scalar abs", "aggregate sum"
	denied  map[string]bool
	varying map[string]string // "now" → "clock"
}

var loadFunctions = sync.OnceValue(func() functions {
	f := functions{map[string]bool{}, map[string]bool{}, map[string]string{}}
	for line := range strings.Lines(functionsText) {
		words := strings.Fields(line)
		if len(words) < 3 || words[0] == "#" {
			continue
		}
		for _, name := range words[2:] {
			switch {
			case words[0] == "varying":
				f.varying[name] = words[1]
			case words[1] == "allow":
				f.allowed[words[0]+" "+name] = true
			default:
				f.denied[words[0]+" "+name] = true
			}
		}
	}
	return f
})

// IsAggregate reports whether a function of the sandbox gathers several rows.
func IsAggregate(name string) bool {
	return loadFunctions().allowed["aggregate "+strings.ToLower(name)]
}

// CheckFunctions refuses a statement that calls a function which is not on the list of those known
// to stay inside the data it is given, or that holds a construct nobody has judged yet. sql is the
// text the tree was parsed from, for positions. It is the outer wall of the sandbox; the inner one
// is the instance's own (Options.AllowedDirs, locked settings). Errors: tarn.CodeForbidden.
func CheckFunctions(sql string, t *ast.Tree) error {
	err := t.Walk(func(n ast.Node, k ast.Kind, _ *ast.Scope) error {
		switch {
		case k == ast.TableRef && ast.Str(n, "type") == "TABLE_FUNCTION":
			f, _ := n["function"].(ast.Node)
			return checkCall(sql, f, "table")
		case k == ast.Expr && ast.Str(n, "class") == "FUNCTION":
			return checkCall(sql, n, "scalar", "aggregate", "table")
		case k == ast.Expr && ast.Str(n, "class") == "WINDOW":
			return checkCall(sql, n, "aggregate")
		case k == ast.TypeInfo && (ast.Str(n, "catalog") != "" || ast.Str(n, "schema") != ""):
			return forbid(sql, n, "the type %s is not known", ast.Str(n, "name"))
		}
		return nil
	})
	var unknown *ast.UnknownError
	if errors.As(err, &unknown) {
		return &tarn.Error{Code: tarn.CodeForbidden, Detail: unknown.Error()}
	}
	return err
}

// checkCall admits a call that one of the kinds allows. A table function stands in the tree as a
// FUNCTION inside its TABLE_FUNCTION, which is why "table" is tried for expressions as well: the
// reference itself has been checked for the table kind alone. A schema in front of the name may be
// a column (method calls, as in name.upper()); DuckDB has no function outside its own schemas.
func checkCall(sql string, n ast.Node, as ...string) error {
	name := strings.ToLower(ast.Str(n, "function_name"))
	f := loadFunctions()
	for _, kind := range as {
		if f.allowed[kind+" "+name] {
			return nil
		}
	}
	for _, kind := range []string{"scalar", "aggregate", "table"} {
		if f.denied[kind+" "+name] {
			return forbid(sql, n, "the function %s is not allowed", name)
		}
	}
	e := &tarn.Error{Code: tarn.CodeInvalid, Detail: fmt.Sprintf("there is no function %s", name)}
	if near := f.nearest(name, as); near != "" {
		e.Hint = "did you mean " + near + "?"
	}
	return At(sql, ast.Offset(n), e)
}

func forbid(sql string, n ast.Node, format string, args ...any) error {
	e := &tarn.Error{Code: tarn.CodeForbidden, Detail: fmt.Sprintf(format, args...),
		Hint: "SQL reads the tables of this lake only: no files, network, settings or other statements"}
	return At(sql, ast.Offset(n), e)
}

func (f functions) nearest(name string, kinds []string) string {
	best, at := "", 3 // further away is no help
	for full := range f.allowed {
		kind, cand, _ := strings.Cut(full, " ")
		for _, k := range kinds {
			if d := distance(name, cand); k == kind && (d < at || d == at && d < 3 && cand < best) {
				best, at = cand, d
			}
		}
	}
	return best
}

// Nearest returns the candidate most like name (ASCII case ignored), or "" when none is near.
func Nearest(name string, candidates []string) string {
	best, at := "", max(2, len(name)/3)+1
	for _, c := range candidates {
		if d := distance(strings.ToLower(name), strings.ToLower(c)); d < at {
			best, at = c, d
		}
	}
	return best
}

// distance is the Levenshtein distance in bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diag := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diag
			if a[i] != b[j] {
				cost++
			}
			diag, row[j+1] = row[j+1], min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// Varying reports whether a function (or a keyword such as CURRENT_DATE) gives another value on
// another run of the same statement.
func Varying(name string) bool {
	name = strings.ToLower(name)
	return loadFunctions().varying[name] != "" || keywordClock[name]
}
