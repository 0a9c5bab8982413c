package sqltext

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSplit(t *testing.T) {
	for name, c := range map[string]struct {
		in   string
		want []string
		rest string
		open bool
	}{
		"one":              {"SELECT 1;", []string{"SELECT 1"}, "", false},
		"none":             {"SELECT 1", nil, "SELECT 1", false},
		"two":              {"SELECT 1; SELECT 2;\n", []string{"SELECT 1", "SELECT 2"}, "\n", false},
		"in a text":        {"SELECT ';';", []string{"SELECT ';'"}, "", false},
		"doubled quote":    {"SELECT 'it''s;';", []string{"SELECT 'it''s;'"}, "", false},
		"in a name":        {`SELECT "a;b";`, []string{`SELECT "a;b"`}, "", false},
		"open text":        {"SELECT 'a;", nil, "SELECT 'a;", true},
		"line comment":     {"SELECT 1 -- no; not here\n;", []string{"SELECT 1 -- no; not here"}, "", false},
		"comment at end":   {"SELECT 1 -- ;", nil, "SELECT 1 -- ;", false},
		"block comment":    {"SELECT /* ; /* nested ; */ ; */ 1;", []string{"SELECT /* ; /* nested ; */ ; */ 1"}, "", false},
		"open comment":     {"SELECT 1; /* ;", []string{"SELECT 1"}, " /* ;", true},
		"dollar quote":     {"SELECT $$;$$, $a$ ; $$ $a$;", []string{"SELECT $$;$$, $a$ ; $$ $a$"}, "", false},
		"parameters":       {"SELECT $1;SELECT $2;", []string{"SELECT $1", "SELECT $2"}, "", false},
		"empty statements": {";; ;/* x */; -- y\n;SELECT 1;", []string{"SELECT 1"}, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			got, rest, open := Split(c.in)
			if diff := cmp.Diff(c.want, got); diff != "" || rest != c.rest || open != c.open {
				t.Errorf("rest %q open %v\n%s", rest, open, diff)
			}
		})
	}
}

// FuzzSplit holds that splitting loses no semicolon, and that splitting a statement again changes nothing.
func FuzzSplit(f *testing.F) {
	for _, s := range []string{"SELECT ';';", "$a$ ; $a$;", "/* /* */ ; */;", "'", "--;\n;", `"a`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		statements, rest, _ := Split(s)
		for _, st := range statements {
			again, r, _ := Split(st + "\n;")
			if len(again) != 1 || again[0] != st || r != "" {
				t.Fatalf("%q splits into %q and %q", st, again, r)
			}
			if !strings.Contains(s, st) {
				t.Fatalf("%q is not in the text", st)
			}
		}
		if len(statements) == 0 && !strings.Contains(s, ";") && rest != s {
			t.Fatalf("rest %q of %q", rest, s)
		}
	})
}
