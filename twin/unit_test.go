package twin

import "testing"

// TestDeclaredUnit: the past of a table without units has those of the schema, where that is clear.
func TestDeclaredUnit(t *testing.T) {
	s := &Spec{Types: map[string]map[string]MetricSpec{
		"car":   {"speed": {Number, "km/h"}, "load": {Number, "kg"}, "doors": {Number, ""}},
		"wagon": {"speed": {Number, "km/h"}, "load": {Number, "t"}},
	}}
	for _, c := range []struct{ kind, metric, want string }{
		{"car", "speed", "km/h"}, {"", "speed", "km/h"}, {"", "load", ""}, {"wagon", "load", "t"}, {"", "doors", ""}, {"ship", "speed", ""}, {"", "depth", ""},
	} {
		if got := s.unit(c.kind, c.metric); got != c.want {
			t.Errorf("%q of %q: %q, want %q", c.metric, c.kind, got, c.want)
		}
	}
	if got := (&Spec{}).unit("", "speed"); got != "" {
		t.Errorf("without a schema: %q", got)
	}
}
