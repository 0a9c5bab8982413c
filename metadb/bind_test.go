package metadb

import (
	"strings"
	"testing"
)

func TestNumbered(t *testing.T) {
	for in, want := range map[string]string{
		"a = ? AND b = ?":      "a = $1 AND b = $2",
		"'what?' ? \"why?\" ?": "'what?' $1 \"why?\" $2",
		"'it''s?' ?":           "'it''s?' $1",
		"?, '":                 "$1, '",
		"'\"?' ?":              "'\"?' $1",
	} {
		if got := numbered(in); got != want {
			t.Errorf("numbered(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzNumbered(f *testing.F) {
	for _, s := range []string{"", "?", "'?'", "\"?\"?", "a ? b '", "??"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		out := numbered(s)
		if !strings.Contains(s, "?") && out != s {
			t.Errorf("%q became %q", s, out)
		}
		if !strings.ContainsAny(s, "'\"") && strings.Contains(out, "?") {
			t.Errorf("%q became %q", s, out)
		}
	})
}

func TestMigrationsAreInOrder(t *testing.T) {
	all, err := migrations()
	if err != nil || len(all) == 0 {
		t.Fatal(len(all), err)
	}
	for i, m := range all {
		if m.version != i+1 || m.name == "" || m.sql == "" {
			t.Errorf("migration %+v", m)
		}
	}
}
