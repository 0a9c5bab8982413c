package project

import (
	"errors"
	"strings"
	"testing"

	"github.com/tarn-data/tarn"
)

func TestTrimStatement(t *testing.T) {
	for in, want := range map[string]string{
		"SELECT 1":                    "SELECT 1",
		"SELECT 1\n":                  "SELECT 1\n",
		"SELECT 1;":                   "SELECT 1",
		"SELECT 1 ; \n;;\n":           "SELECT 1",
		"SELECT 1; -- done;\n":        "SELECT 1",
		"SELECT 1 -- done;\n":         "SELECT 1 -- done;\n",
		"SELECT 1 -- done\n;":         "SELECT 1",
		"SELECT 1; /* a /* ; */ b */": "SELECT 1",
		"SELECT ';'":                  "SELECT ';'",
		"SELECT 'it''s;';":            "SELECT 'it''s;'",
		"SELECT '--';":                "SELECT '--'",
		"SELECT 'a\\';":               "SELECT 'a\\'",
		`SELECT E'it\'s;' ;`:          `SELECT E'it\'s;'`,
		`SELECT ";" FROM "a"";" ;`:    `SELECT ";" FROM "a"";"`,
		"SELECT $$ ; '$$;":            "SELECT $$ ; '$$",
		"SELECT $a$ $$ ; $a$ ;":       "SELECT $a$ $$ ; $a$",
		"SELECT $1;":                  "SELECT $1",
		"SELECT a$b$ ;":               "SELECT a$b$",
		"SELECT name'x';":             "SELECT name'x'",
		"SELECT 1; SELECT 2;":         "SELECT 1; SELECT 2",
		"SELECT 'open;":               "SELECT 'open;",
		"SELECT $$open;":              "SELECT $$open;",
		"SELECT 1 /* open;":           "SELECT 1 /* open;",
		";":                           "",
		"":                            "",
	} {
		if got := trimStatement(in); got != want {
			t.Errorf("trimStatement(%q) = %q, want %q", in, got, want)
		}
	}
}

// What is trimmed is a prefix, never grows shorter twice, and loses nothing but semicolons,
// blanks and comments.
func FuzzTrimStatement(f *testing.F) {
	for _, s := range []string{"SELECT 1; -- x", "SELECT E'\\';' ; /* /* */ */", "$a$;$a$;", "'", "\"", "--", "e'"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := trimStatement(s)
		cut, ok := strings.CutPrefix(s, got)
		if !ok || trimStatement(got) != got || cut != "" && !strings.Contains(cut, ";") {
			t.Fatalf("%q became %q", s, got)
		}
		if !strings.HasSuffix(got, "\n") && !blankSQL(cut) {
			t.Fatalf("%q lost %q", s, cut)
		}
	})
}

func TestSQLFault(t *testing.T) {
	for _, tt := range []struct {
		name      string
		err       error
		line, col int
		detail    string
	}{
		{"plain", errors.New("it is wrong"), 1, 1, "it is wrong"},
		{"DuckDB", errors.New("Parser Error: syntax error at or near \"x\"\n\nLINE 3: SELECT x\n               ^"), 3, 8, `Parser Error: syntax error at or near "x"`},
		{"DuckDB, clipped", errors.New("Parser Error: no\nLINE 3: ...SELECT x\n               ^"), 3, 1, "Parser Error: no"},
		{"place in words", &tarn.Error{Detail: "line 4, column 15: no"}, 4, 15, "no"},
		{"typed", &SQLError{Line: 2, Col: 5, Detail: "no"}, 2, 5, "no"},
		{"typed without a place", &SQLError{Detail: "no"}, 1, 1, "no"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if f := sqlFault(tt.err); f.Line != tt.line || f.Col != tt.col || f.Detail != tt.detail || f.Code != CodeSQL {
				t.Errorf("%+v", f)
			}
		})
	}
}
