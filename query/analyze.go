package query

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/duck"
	"github.com/tarn-data/tarn/duck/ast"
)

// statement is what the text alone says: checked, rewritten, with its tables and parameters cut out.
// It is immutable and cached by text.
type statement struct {
	sql     string
	explain string  // "", "EXPLAIN " or "EXPLAIN ANALYZE "
	refs    []ref   // each place a table is named
	pieces  []piece // the text to run
	params  int     // highest number of a parameter
	varying bool    // calls the clock or random
	lists   bool    // SHOW TABLES: answered from the source
}

// ref is one place where a table is named.
type ref struct {
	schema, table string // as written; schema may be ""
	offset        int    // in the text, -1 unknown
	at            []piece
	version       bool // at is a snapshot, not a time
}

// piece is text, or the place of a table (ref ≥ 0) or of a parameter (param ≥ 1).
type piece struct {
	text  string
	ref   int
	param int
}

func forbidden(detail string) error {
	return &tarn.Error{Code: tarn.CodeForbidden, Detail: detail,
		Hint: "SQL reads the tables of this lake only: no files, network, settings or other statements"}
}

// analyze parses, checks and cuts up one statement. It looks nothing up.
func analyze(ctx context.Context, planner *duck.DB, sql string) (*statement, error) {
	if len(sql) > maxSQLBytes {
		return nil, &tarn.Error{Code: tarn.CodeTooLarge, Detail: fmt.Sprintf("the statement is longer than %d bytes", maxSQLBytes),
			Hint: "pass long lists of values as parameters"}
	}
	st := &statement{sql: sql}
	text := st.cutExplain(sql)
	tree, err := planner.Parse(ctx, text)
	if err != nil {
		return nil, err
	}
	if st.lists, err = st.showTables(tree); err != nil || st.lists {
		return st, err
	}
	if err := duck.CheckFunctions(text, tree); err != nil {
		return nil, err
	}
	c := cutter{st: st, text: text, planner: planner, ctx: ctx, streamed: map[uintptr]bool{}}
	if c.mark, err = marker(text); err != nil {
		return nil, err
	}
	if err := tree.Walk(c.visit); err != nil {
		return nil, err
	}
	for _, f := range c.later {
		if err := f(); err != nil {
			return nil, err
		}
	}
	rendered, err := planner.Render(ctx, tree)
	if err != nil {
		return nil, err
	}
	st.pieces, err = c.split(rendered)
	return st, err
}

// cutter replaces tables and parameters by marks, which are names no text contains.
type cutter struct {
	ctx     context.Context
	planner *duck.DB
	st      *statement
	text    string
	mark    string
	later   []func() error // changes that would disturb the walk

	streamed map[uintptr]bool // calls that stand after FROM, by the address of their node
}

func marker(text string) (string, error) {
	var b [8]byte
	for {
		if _, err := rand.Read(b[:]); err != nil {
			return "", &tarn.Error{Code: tarn.CodeInternal, Detail: "no randomness", Err: err}
		}
		if m := "tarn_" + hex.EncodeToString(b[:]) + "_"; !strings.Contains(text, m) {
			return m, nil
		}
	}
}

func (c *cutter) visit(n ast.Node, k ast.Kind, s *ast.Scope) error {
	switch k {
	case ast.Query:
		nameParameters(n)
		return c.checkNames(n)
	case ast.TableRef:
		switch ast.Str(n, "type") {
		case "BASE_TABLE":
			return c.table(n, s)
		case "SHOW_REF":
			return c.showRef(n)
		case "TABLE_FUNCTION":
			c.streamed[reflect.ValueOf(n["function"]).Pointer()] = true
		}
	case ast.Expr:
		return c.expression(n)
	}
	return nil
}

// nameParameters keeps the names of columns that are a bare parameter.
func nameParameters(n ast.Node) {
	list, _ := n["select_list"].([]any)
	for _, e := range list {
		if e, _ := e.(ast.Node); ast.Str(e, "class") == "PARAMETER" && ast.Str(e, "alias") == "" {
			e["alias"] = "$" + ast.Str(e, "identifier")
		}
	}
}

// checkNames refuses names of CTEs that DuckDB could take for files if a scope were ever mistaken.
func (c *cutter) checkNames(n ast.Node) error {
	m, _ := n["cte_map"].(ast.Node)
	list, _ := m["map"].([]any)
	for _, e := range list {
		entry, _ := e.(ast.Node)
		if name := ast.Str(entry, "key"); strings.ContainsAny(name, `./\:*?[`) {
			return forbidden(fmt.Sprintf("a WITH query must not be called %q", name))
		}
	}
	return nil
}

func (c *cutter) table(n ast.Node, s *ast.Scope) error {
	r := ref{schema: ast.Str(n, "schema_name"), table: ast.Str(n, "table_name"), offset: ast.Offset(n)}
	if ast.Str(n, "catalog_name") != "" {
		return notFound(c.st.sql, r.offset, ast.Str(n, "catalog_name")+"."+r.schema+"."+r.table, nil)
	}
	if r.schema == "" && s.Has(r.table) {
		if n["at_clause"] != nil {
			return duck.At(c.text, r.offset, &tarn.Error{Code: tarn.CodeInvalid, Detail: "AT is for tables, not for the result of WITH"})
		}
		return nil
	}
	if err := c.at(n, &r); err != nil {
		return err
	}
	if ast.Str(n, "alias") == "" {
		n["alias"] = r.table
	}
	n["schema_name"], n["table_name"] = "", fmt.Sprintf("%st%d_", c.mark, len(c.st.refs))
	c.st.refs = append(c.st.refs, r)
	return nil
}

// at takes the AT clause off a table.
func (c *cutter) at(n ast.Node, r *ref) error {
	clause, _ := n["at_clause"].(ast.Node)
	n["at_clause"] = nil
	if clause == nil {
		return nil
	}
	expr, _ := clause["expr"].(ast.Node)
	if err := ast.Under(expr, nil, c.visit); err != nil { // parameters; a subquery would be a table of its own
		return err
	}
	index := len(c.st.refs)
	c.later = append(c.later, func() error {
		text, err := c.planner.RenderExpr(c.ctx, expr)
		if err != nil {
			return err
		}
		at, err := c.split(text)
		for _, p := range at {
			if p.ref >= 0 {
				err = duck.At(c.text, r.offset, &tarn.Error{Code: tarn.CodeInvalid, Detail: "AT takes a time or version, not a query"})
			}
		}
		c.st.refs[index].at = at
		return err
	})
	r.version = strings.EqualFold(ast.Str(clause, "unit"), "VERSION")
	return nil
}

func (c *cutter) expression(n ast.Node) error {
	switch ast.Str(n, "class") {
	case "PARAMETER":
		id := ast.Str(n, "identifier")
		i, err := strconv.Atoi(id)
		if err != nil || i < 1 || i > 10000 {
			return &tarn.Error{Code: tarn.CodeUnsupported, Detail: "the parameter $" + id + " has a name", Hint: "number parameters: $1, $2, … or ?"}
		}
		c.st.params = max(c.st.params, i)
		name, alias := fmt.Sprintf("%sp%d_", c.mark, i), n["alias"]
		clear(n)
		n["class"], n["type"], n["alias"], n["column_names"] = "COLUMN_REF", "COLUMN_REF", alias, []any{name}
	case "COLUMN_REF":
		if names := ast.Strs(n, "column_names"); len(names) > 2 {
			c.later = append(c.later, func() error { c.unqualify(n, names); return nil })
		} else if len(names) == 1 && duck.Varying(names[0]) {
			c.st.varying = true
		}
	case "FUNCTION":
		c.st.varying = c.st.varying || duck.Varying(ast.Str(n, "function_name"))
		return c.bound(n)
	}
	return nil
}

// unqualify turns schema.table.column into table.column: tables lose their schema in the rewriting.
func (c *cutter) unqualify(n ast.Node, names []string) {
	for _, r := range c.st.refs {
		if r.schema != "" && strings.EqualFold(r.schema, names[0]) && strings.EqualFold(r.table, names[1]) {
			rest := make([]any, 0, len(names))
			for _, s := range names[1:] {
				rest = append(rest, s)
			}
			n["column_names"] = rest
			return
		}
	}
}

// split cuts rendered text at its marks.
func (c *cutter) split(text string) ([]piece, error) {
	var out []piece
	for {
		before, rest, found := strings.Cut(text, c.mark)
		if before != "" {
			out = append(out, piece{text: before, ref: -1})
		}
		if !found {
			return out, nil
		}
		num, after, ok := strings.Cut(rest, "_")
		if !ok || len(num) < 2 {
			return nil, &tarn.Error{Code: tarn.CodeInternal, Detail: "the statement could not be rewritten"}
		}
		i, err := strconv.Atoi(num[1:])
		switch {
		case err == nil && num[0] == 't' && i < len(c.st.refs):
			out = append(out, piece{ref: i})
		case err == nil && num[0] == 'p' && i <= c.st.params:
			out = append(out, piece{ref: -1, param: i})
		default:
			return nil, &tarn.Error{Code: tarn.CodeInternal, Detail: "the statement could not be rewritten", Err: err}
		}
		text = after
	}
}
