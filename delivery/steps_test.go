package delivery_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tarn-data/tarn/delivery"
	"github.com/tarn-data/tarn/project"
)

func step(t project.Transform) delivery.Step { return delivery.Step{Transform: t} }

func rule(name, condition string, onFail project.OnFail) project.Rule {
	return project.Rule{Name: name, Condition: condition, OnFail: onFail}
}

// TestSteps: what every built-in step makes of records.
func TestSteps(t *testing.T) {
	people := []string{
		`{"id":1,"name":"Ann","age":30,"tags":{"a":1}}`,
		`{"id":2,"name":null,"age":-1,"tags":null}`,
		`{"id":3,"name":"Zoë Ångström","age":200,"tags":{"a":2}}`,
	}
	tests := []struct {
		name                 string
		steps                []project.Transform
		query                string
		rows                 []string
		out, failed, dropped uint64
		reasons              []string
	}{
		{"filter", []project.Transform{{Filter: "age > 0 -- a comment"}}, "SELECT id FROM t", []string{"1", "3"}, 2, 0, 1, nil},
		{"mask", []project.Transform{{Mask: []project.Mask{{Column: "NAME", Method: project.MaskRedact}, {Column: "age", Method: project.MaskRedact}, {Column: "id", Method: project.MaskHash}, {Column: "unseen", Method: project.MaskHash}}}},
			"SELECT name, age, id[:8] FROM t", []string{"*** <nil> 4e074085", "*** <nil> 6b86b273", "<nil> <nil> d4735e3a"}, 3, 0, 0, nil},
		{"truncate", []project.Transform{{Mask: []project.Mask{{Column: "name", Method: project.MaskTruncate, Length: 5}}}},
			"SELECT name FROM t", []string{"<nil>", "Ann", "Zoë Å"}, 3, 0, 0, nil},
		{"rename", []project.Transform{{Rename: []project.Rename{{From: "name", To: "label"}, {From: "unseen", To: "x"}}}}, "SELECT label FROM t", []string{"<nil>", "Ann", "Zoë Ångström"}, 3, 0, 0, nil},
		{"swap names", []project.Transform{{Rename: []project.Rename{{From: "id", To: "age"}, {From: "age", To: "id"}}}}, "SELECT id, age FROM t", []string{"-1 2", "200 3", "30 1"}, 3, 0, 0, nil},
		{"rename over a column", []project.Transform{{Rename: []project.Rename{{From: "age", To: "id"}}}}, "SELECT id FROM t", []string{"-1", "200", "30"}, 3, 0, 0, nil},
		{"drop", []project.Transform{{Validate: []project.Rule{rule("named", "name IS NOT NULL", project.Drop)}}}, "SELECT id FROM t", []string{"1", "3"}, 2, 0, 1, nil},
		{"tag", []project.Transform{{Validate: []project.Rule{rule("young", "age < 100", project.KeepAndTag), rule("born", "age >= 0", project.KeepAndTag), rule("short", "length(name) < 5", project.KeepAndTag)}}},
			"SELECT id, array_to_string(failed_rules, '+') FROM t", []string{"1 <nil>", "2 born", "3 young+short"}, 3, 0, 0, nil},
		{"tag twice", []project.Transform{{Validate: []project.Rule{rule("young", "age < 100", project.KeepAndTag)}}, {Validate: []project.Rule{rule("short", "length(name) < 5", project.KeepAndTag)}}},
			"SELECT id, array_to_string(failed_rules, '+') FROM t", []string{"1 <nil>", "2 <nil>", "3 young+short"}, 3, 0, 0, nil},
		{"fail", []project.Transform{{Validate: []project.Rule{rule("born", "age >= 0", project.FailRecord), rule("young", "age < 100", project.FailRecord)}}},
			"SELECT id FROM t", []string{"1"}, 1, 2, 0, []string{"born", "young"}},
		{"dropped before it can fail", []project.Transform{{Filter: "id <> 2"}, {Validate: []project.Rule{rule("dull", "age < 200", project.Drop), rule("born", "age >= 0", project.FailRecord), rule("young", "age < 100", project.FailRecord)}}},
			"SELECT id FROM t", []string{"1"}, 1, 0, 2, nil},
		{"failed before it is dropped", []project.Transform{{Validate: []project.Rule{rule("young", "age < 100 OR length(name) < 5", project.FailRecord), rule("first", "id < 3", project.Drop)}}},
			"SELECT id FROM t", []string{"1", "2"}, 2, 1, 0, []string{"young"}},
		{"failed before it is filtered", []project.Transform{{Validate: []project.Rule{rule("young", "age < 100", project.FailRecord)}}, {Filter: "id < 3"}},
			"SELECT id FROM t", []string{"1", "2"}, 2, 1, 0, []string{"young"}},
		{"failed before it is filtered by another name", []project.Transform{{Validate: []project.Rule{rule("young", "age < 100", project.FailRecord), rule("dull", "age > 0", project.Drop)}},
			{Rename: []project.Rename{{From: "id", To: "number"}}}, {Filter: "number < 3"}},
			"SELECT number FROM t", []string{"1"}, 1, 1, 1, []string{"young"}},
		{"failed before SQL filters", []project.Transform{{Validate: []project.Rule{rule("young", "age < 100", project.FailRecord)}}, {SQL: "SELECT id AS number FROM records"}, {SQL: "SELECT * FROM records WHERE number < 3"}},
			"SELECT number FROM t", []string{"1", "2"}, 2, 1, 0, []string{"young"}},
		{"after SQL", []project.Transform{{SQL: "SELECT id, age * 2 AS twice FROM records"}, {Validate: []project.Rule{rule("twice", "twice < 100", project.FailRecord)}}, {Filter: "twice > 0"}},
			"SELECT id FROM t", []string{"1"}, 1, 1, 1, []string{"twice"}},
		{"before SQL that filters", []project.Transform{{Validate: []project.Rule{rule("young", "age < 100", project.FailRecord)}}, {SQL: "SELECT id FROM records WHERE age > 0"}},
			"SELECT id FROM t", []string{"1"}, 1, 1, 1, []string{"young"}},
		{"after SQL that filters", []project.Transform{{SQL: "SELECT id, age FROM records WHERE age > 0"}, {Validate: []project.Rule{rule("young", "age < 100", project.FailRecord)}}},
			"SELECT id FROM t", []string{"1"}, 1, 1, 1, []string{"young"}},
		{"a member no record has", []project.Transform{{Filter: "unseen IS NULL"}, {Validate: []project.Rule{rule("none", "missing > 3", project.FailRecord)}}},
			"SELECT id FROM t", []string{"1", "2", "3"}, 3, 0, 0, nil},
		{"all fail", []project.Transform{{Validate: []project.Rule{rule("none", "false", project.FailRecord)}}}, "SELECT 1 FROM t", nil, 0, 3, 0, []string{"none", "none", "none"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, 1)
			cfg := w.config()
			for _, s := range tt.steps {
				cfg.Transform = append(cfg.Transform, delivery.Step{Transform: s, RowByRow: s.SQL != "" && !strings.Contains(s.SQL, "WHERE")})
			}
			r := w.run(cfg)
			w.put(0, people...)
			w.flush(r)
			w.want(r, tt.query, tt.rows...)
			w.balance(0, uint64(len(people)), tt.out, tt.failed, tt.dropped)
			for i, f := range w.failed() {
				if f.Stage != "validate" || !strings.HasSuffix(f.Reason, "rule "+tt.reasons[i]) || len(f.Record) == 0 {
					t.Errorf("failed %d: %+v", i, f)
				}
			}
		})
	}
}

// TestManyBreakARule: thousands of records that break a rule are found in one pass, each with its own
// position, also behind SQL that computes what the rule asks for.
func TestManyBreakARule(t *testing.T) {
	const n = 20_000
	w := newWorld(t, 1)
	cfg := w.config()
	cfg.Transform = append(rowByRow(sqlSteps("SELECT *, id % 3 AS rest FROM records")),
		step(project.Transform{Validate: []project.Rule{rule("rest", "rest <> 1", project.FailRecord)}}))
	r := w.run(cfg)
	for at := 0; at < n; at += 1000 {
		var lines []string
		for i := range 1000 {
			lines = append(lines, fmt.Sprintf(`{"id":%d}`, at+i))
		}
		w.put(0, lines...)
	}
	w.flush(r)
	const broken = (n + 1) / 3
	w.want(r, "SELECT count(*), min(rest), max(rest) FROM t", fmt.Sprintf("%d 0 2", n-broken))
	w.balance(0, n, n-broken, broken, 0)
	for _, f := range w.failed() {
		if want := fmt.Sprintf(`{"id":%d}`, f.Offset); f.Offset%3 != 1 || string(f.Record) != want {
			t.Fatalf("offset %d holds %s", f.Offset, f.Record)
		}
	}
}
