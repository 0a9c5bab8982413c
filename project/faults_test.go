package project_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/project"
)

var update = flag.Bool("update", false, "rewrite the expected results")

// TestFaults loads every project of testdata/faults and compares its faults with the file want.
// A file named "x (quoted)" is one Go string literal, for bytes that an archive cannot hold, and
// one named "x (executable)" has the mode of a program.
func TestFaults(t *testing.T) {
	archives, err := filepath.Glob("testdata/faults/*.txtar")
	if err != nil || len(archives) < 20 {
		t.Fatalf("the corpus is missing: %d archives, %v", len(archives), err)
	}
	for _, name := range archives {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			ar, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			fsys, want := fstest.MapFS{}, ""
			for _, f := range ar.Files {
				data := f.Data
				if n, ok := strings.CutSuffix(f.Name, " (quoted)"); ok {
					text, err := strconv.Unquote(strings.TrimSpace(string(data)))
					if err != nil {
						t.Fatal(err)
					}
					f.Name, data = n, []byte(text)
				}
				if f.Name == "want" {
					want = string(data)
					continue
				}
				addFile(fsys, f.Name, data)
			}
			if _, ok := fsys["tarn.yaml"]; !ok && !strings.Contains(string(ar.Comment), "no tarn.yaml") {
				fsys["tarn.yaml"] = &fstest.MapFile{Data: []byte("version: 1\nname: test\n")}
			}
			p, faults := project.Load(fsys, project.Options{CheckSQL: checkSQL, Describe: describe})
			if (p == nil) != (len(faults) > 0) {
				t.Errorf("a project and %d faults", len(faults))
			}
			got := ""
			for _, f := range faults {
				got += f.String() + " [" + string(f.Code) + "]\n"
			}
			if *update {
				setWant(ar, got)
				if err := os.WriteFile(name, txtar.Format(ar), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("faults (-want +got):\n%s", diff)
			}
		})
	}
}

// addFile adds a file, whose name may end in " (executable)".
func addFile(fsys fstest.MapFS, name string, data []byte) {
	name, executable := strings.CutSuffix(name, " (executable)")
	fsys[name] = &fstest.MapFile{Data: data, Mode: 0o644}
	if executable {
		fsys[name].Mode = 0o755
	}
}

func setWant(ar *txtar.Archive, got string) {
	for i := range ar.Files {
		if ar.Files[i].Name == "want" {
			ar.Files[i].Data = []byte(got)
			return
		}
	}
	ar.Files = append(ar.Files, txtar.File{Name: "want", Data: []byte(got)})
}

var typo = regexp.MustCompile(`\b(SELEC|FORM)\b`)

// checkSQL stands for DuckDB's parser: it knows two typing errors and speaks its words.
func checkSQL(_, sql string) error {
	at := typo.FindStringIndex(sql)
	if at == nil {
		return nil
	}
	line := 1 + strings.Count(sql[:at[0]], "\n")
	begin := 1 + strings.LastIndexByte(sql[:at[0]], '\n')
	text, _, _ := strings.Cut(sql[begin:], "\n")
	prefix := fmt.Sprintf("LINE %d: ", line)
	return fmt.Errorf("Parser Error: syntax error at or near \"%s\"\n\n%s%s\n%*s", sql[at[0]:at[1]], prefix, text, len(prefix)+at[0]-begin+1, "^")
}

var selectList = regexp.MustCompile(`(?is)SELECT\s+(.*?)\s+FROM\s+records`)

var conditionText = regexp.MustCompile(`(?s)^SELECT \(\n(.*)\n\) AS condition FROM records$`)

// describe stands for DuckDB's binder over a bare list of columns, and over conditions, of which it
// knows the first word.
func describe(sql string, input tarn.Schema) ([]tarn.Field, error) {
	if m := conditionText.FindStringSubmatch(sql); m != nil {
		word, rest, _ := strings.Cut(strings.TrimSpace(m[1]), " ")
		column := input.Lookup(word)
		switch {
		case column == nil:
			return nil, &tarn.Error{Code: tarn.CodeInvalid, Detail: "Binder Error: no column " + word + "\nLINE 2: " + m[1] + "\n        ^"}
		case rest == "":
			return []tarn.Field{*column}, nil
		}
		return []tarn.Field{{Name: "condition", Type: tarn.Type{Kind: tarn.Boolean}}}, nil
	}
	m := selectList.FindStringSubmatch(sql)
	if m == nil {
		return nil, &project.SQLError{Detail: "Binder Error: records is not read"}
	}
	var out []tarn.Field
	for item := range strings.SplitSeq(m[1], ",") {
		switch f := input.Lookup(strings.TrimSpace(item)); {
		case strings.TrimSpace(item) == "*":
			out = append(out, input.Fields...)
		case f != nil:
			out = append(out, *f)
		default:
			return nil, &tarn.Error{Code: tarn.CodeInvalid, Detail: "Binder Error: no column " + strings.TrimSpace(item) + "\nLINE 1: " + sql + "\n               ^"}
		}
	}
	return out, nil
}
