package query

import "testing"

func TestCutHint(t *testing.T) {
	for text, want := range map[string][2]string{
		`Referenced column "a" not found in FROM clause! Candidate bindings: "b", "c"`:        {`Referenced column "a" not found in FROM clause`, `there is "b", "c"`},
		`Referenced column "a" not found in FROM clause! Candidate bindings: : "bytes"`:       {`Referenced column "a" not found in FROM clause`, `there is "bytes"`},
		`Table with name t does not exist! Did you mean "u"?`:                                 {`Table with name t does not exist`, `did you mean "u"?`},
		"No function matches. You might need to add casts.\n\tCandidate functions:\n\tf(INT)": {"No function matches. You might need to add casts", "there is f(INT)"},
		"Candidate bindings: : ": {"Candidate bindings: :", ""},
		"division by zero":       {"division by zero", ""},
	} {
		if detail, hint := cutHint(text); detail != want[0] || hint != want[1] {
			t.Errorf("%q\ngot  %q, %q", text, detail, hint)
		}
	}
}
