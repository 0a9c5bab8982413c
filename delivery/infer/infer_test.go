package infer_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/delivery/infer"
)

// learned returns a state that was decided from the records.
func learned(t testing.TB, o infer.Options, recs ...string) *infer.State {
	t.Helper()
	s := infer.New(nil, o)
	for _, r := range recs {
		if err := s.Sample([]byte(r)); err != nil {
			t.Fatalf("%s: %v", r, err)
		}
	}
	s.Decide()
	return s
}

// columns writes a schema as name TYPE, name TYPE.
func columns(s tarn.Schema) string {
	var parts []string
	for _, f := range s.Fields {
		parts = append(parts, f.Name+" "+f.Type.SQL())
	}
	return strings.Join(parts, ", ")
}

func repeat(n int, f func(i int) string) []string {
	recs := make([]string, n)
	for i := range recs {
		recs[i] = f(i)
	}
	return recs
}

func TestDecide(t *testing.T) {
	many := func(rec string) []string { return repeat(20, func(int) string { return rec }) }
	for name, c := range map[string]struct {
		recs []string
		want string
	}{
		"booleans":                 {[]string{`{"a":true}`, `{"a":false}`}, "a BOOLEAN"},
		"integers":                 {[]string{`{"a":1}`, `{"a":-9223372036854775808}`}, "a BIGINT"},
		"fractions":                {[]string{`{"a":1.5}`}, "a DOUBLE"},
		"integers and fractions":   {[]string{`{"a":1}`, `{"a":1.5}`}, "a DOUBLE"},
		"exponents":                {[]string{`{"a":1e3}`}, "a DOUBLE"},
		"beyond 64 bits, exact":    {[]string{`{"a":18446744073709551616}`}, "a DOUBLE"},
		"beyond 64 bits, inexact":  {[]string{`{"a":18446744073709551615}`}, "a JSON"},
		"ids and fractions":        {[]string{`{"a":9007199254740993}`, `{"a":0.5}`}, "a JSON"},
		"beyond a double":          {[]string{`{"a":1e400}`}, "a JSON"},
		"strings":                  {[]string{`{"a":"x"}`, `{"a":"2026-11-20"}`}, "a VARCHAR"},
		"empty string":             {[]string{`{"a":""}`, `{"a":"2026-11-20T03:00:00Z"}`}, "a VARCHAR"},
		"zoned":                    {[]string{`{"a":"2026-11-20T03:00:00Z"}`, `{"a":null}`, `{"a":"2026-11-20T03:00:00.5+02:00"}`}, "a TIMESTAMP"},
		"local":                    {[]string{`{"a":"2026-11-20 03:00:00"}`}, "a TIMESTAMP"},
		"zoned and local":          {[]string{`{"a":"2026-11-20T03:00:00"}`, `{"a":"2026-11-20T03:00:00Z"}`}, "a VARCHAR"},
		"nanoseconds":              {[]string{`{"a":"2026-11-20T03:00:00.123456789Z"}`}, "a VARCHAR"},
		"nine digits, microsecond": {[]string{`{"a":"2026-11-20T03:00:00.123456000Z"}`}, "a TIMESTAMP"},
		"dates":                    {[]string{`{"a":"2026-11-20"}`}, "a DATE"},
		"dates and timestamps":     {[]string{`{"a":"2026-11-20"}`, `{"a":"2026-11-20T03:00:00Z"}`}, "a VARCHAR"},
		"impossible date":          {[]string{`{"a":"2026-02-29"}`}, "a VARCHAR"},
		"leap second":              {[]string{`{"a":"2016-12-31T23:59:60Z"}`}, "a VARCHAR"},
		"lower case":               {[]string{`{"a":"2026-11-20t03:00:00z"}`}, "a VARCHAR"},
		"no seconds":               {[]string{`{"a":"2026-11-20T03:00Z"}`}, "a VARCHAR"},
		"only null":                {[]string{`{"a":null}`, `{}`}, ""},
		"string and number":        {[]string{`{"a":"x"}`, `{"a":1}`}, "a JSON"},
		"number and boolean":       {[]string{`{"a":true}`, `{"a":1}`}, "a JSON"},
		"scalar and object":        {[]string{`{"a":{"b":1}}`, `{"a":1}`}, "a JSON"},
		"list":                     {[]string{`{"a":[1,2]}`, `{"a":[]}`, `{"a":[null,1.5]}`}, "a DOUBLE[]"},
		"list of times":            {[]string{`{"a":["2026-11-20T03:00:00Z"]}`}, "a VARCHAR[]"},
		"list of lists":            {[]string{`{"a":[[1],[2,3]]}`}, "a BIGINT[][]"},
		"list of objects":          {[]string{`{"a":[{"b":1},{"c":"x"}]}`}, `a STRUCT("b" BIGINT, "c" VARCHAR)[]`},
		"mixed list":               {[]string{`{"a":[1,"x"]}`}, "a JSON"},
		"mixed over records":       {[]string{`{"a":[1]}`, `{"a":["x"]}`}, "a JSON"},
		"empty list":               {[]string{`{"a":[]}`}, "a JSON"},
		"list of nulls":            {[]string{`{"a":[null]}`}, "a JSON"},
		"empty object":             {[]string{`{"a":{}}`}, "a JSON"},
		"object":                   {[]string{`{"a":{"b":1,"t":"2026-11-20T03:00:00Z"}}`}, `a STRUCT("b" BIGINT, "t" TIMESTAMP)`},
		"optional keys":            {many(`{"a":{"b":1,"c":null}}`), `a STRUCT("b" BIGINT)`},
		"keys are ids":             {[]string{`{"a":{"1001":1,"1002":2}}`}, "a JSON"},
		"keys are dates":           {[]string{`{"a":{"2026-11-20":1,"2026-11-21":2}}`}, "a JSON"},
		"keys differ in case":      {[]string{`{"a":{"b":1,"B":2}}`}, "a JSON"},
		"unusable key inside":      {[]string{`{"a":{"b":1,"":2}}`}, "a JSON"},
		"too many keys":            {repeat(70, func(i int) string { return fmt.Sprintf(`{"a":{"k%d":1}}`, i) }), "a JSON"},
		"rare keys":                {repeat(100, func(i int) string { return fmt.Sprintf(`{"a":{"id":1,"k%d":1}}`, i%60) }), "a JSON"},
		"sparse keys":              {repeat(100, func(i int) string { return fmt.Sprintf(`{"a":{"k%d":1}}`, i%10) }), "a JSON"},
		"few objects, many keys":   {[]string{`{"a":{` + strings.Join(repeat(40, func(i int) string { return fmt.Sprintf(`"k%d":1`, i) }), ",") + `}}`}, "a JSON"},
		"few objects, deep":        {[]string{`{"a":{"b":{"c":{"d":1}}}}`}, "a JSON"},
		"many objects, deep":       {many(`{"a":{"b":{"c":{"d":1}}}}`), `a STRUCT("b" STRUCT("c" STRUCT("d" BIGINT)))`},
		"too deep":                 {many(`{"a":{"b":{"c":{"d":{"e":{"f":{"g":1}}}}}}}`), `a STRUCT("b" STRUCT("c" STRUCT("d" STRUCT("e" STRUCT("f" JSON)))))`},
		"one member varies":        {append(many(`{"a":{"b":1,"c":"x"}}`), `{"a":{"b":"y"}}`), `a STRUCT("b" JSON, "c" VARCHAR)`},
		"members vary":             {append(many(`{"a":{"b":1,"c":"x"}}`), `{"a":{"b":"y","c":1}}`), "a JSON"},
		"order of first sight":     {[]string{`{"z":1,"n":null}`, `{"b":1}`, `{"a":1,"n":"x"}`}, "z BIGINT, n VARCHAR, b BIGINT, a BIGINT"},
	} {
		t.Run(name, func(t *testing.T) {
			s := learned(t, infer.Options{}, c.recs...)
			if got := columns(s.Schema()); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			for _, n := range s.Explain() {
				if n.Reason == "" {
					t.Errorf("%s %s has no reason", n.Path, n.Type)
				}
			}
		})
	}
}

// TestKeys: what each odd key becomes, and that nothing of the record is lost.
func TestKeys(t *testing.T) {
	long := strings.Repeat("k", 10_000)
	for name, c := range map[string]struct{ rec, columns, line string }{
		"case":         {`{"Id":1,"id":2,"ID":{"x":3}}`, "Id BIGINT, _rest JSON", `{"Id":1,"_rest":{"id":2,"ID":{"x":3}}}`},
		"beyond ASCII": {`{"É":1,"é":2}`, "É BIGINT, é BIGINT", `{"É":1,"é":2}`},
		"empty":        {`{"":1}`, "_rest JSON", `{"_rest":{"":1}}`},
		"dots":         {`{"a.b":1,"a":{"b":2}}`, `a.b BIGINT, a STRUCT("b" BIGINT)`, `{"a.b":1,"a":{"b":2}}`},
		"quotes":       {`{"q\"x":1,"it's":2}`, `q"x BIGINT, it's BIGINT`, `{"q\"x":1,"it's":2}`},
		"newline":      {`{"a\nb":1}`, "_rest JSON", `{"_rest":{"a\nb":1}}`},
		"zero":         {`{"a\u0000":1}`, "_rest JSON", `{"_rest":{"a\u0000":1}}`},
		"long":         {`{"` + long + `":1}`, "_rest JSON", `{"_rest":{"` + long + `":1}}`},
		"reserved":     {`{"select":1,"order by":2}`, "select BIGINT, order by BIGINT", `{"select":1,"order by":2}`},
		"_rest":        {`{"_rest":1,"_REST":"x"}`, "_rest JSON", `{"_rest":{"_rest":1,"_REST":"x"}}`},
		"escaped":      {`{"\u0061":1,"a":2}`, "a BIGINT", `{"a":2}`},
		"repeated":     {`{"a":1,"b":{"c":1,"c":null},"a":"x"}`, `b JSON, a VARCHAR`, `{"b":{"c":1,"c":null},"a":"x"}`},
		"null":         {`{"":null,"a":1}`, "a BIGINT", `{"a":1}`},
		"blanks":       {"{ \"a\" :\t[ 1,\n2 ] }", "a BIGINT[]", `{"a":[1,2]}`},
		"in JSON":      {"{\"a\":{\n\"\":\r\n1}}", "a JSON", `{"a":{ "":  1}}`},
	} {
		t.Run(name, func(t *testing.T) {
			s := infer.New(nil, infer.Options{})
			e, err := s.Observe([]byte(c.rec))
			if err != nil || e.Misfit != nil {
				t.Fatal(e.Misfit, err)
			}
			if got := columns(s.Schema()); got != c.columns {
				t.Errorf("columns %s, want %s", got, c.columns)
			}
			line, err := s.Rewrite(nil, []byte(c.rec))
			if err != nil || string(line) != c.line {
				t.Errorf("line %s %v, want %s", line, err, c.line)
			}
		})
	}
}

// TestNestedReason: the cause inside arrays of arrays is said once.
func TestNestedReason(t *testing.T) {
	notes := learned(t, infer.Options{}, `{"a":[[[1],["x"]]]}`).Explain()
	if want := "the elements of its arrays vary: mixed: 1 number, 1 string"; len(notes) != 1 || notes[0].Reason != want {
		t.Errorf("%+v, want %q", notes, want)
	}
}

func TestExplosion(t *testing.T) {
	s := learned(t, infer.Options{MaxColumns: 50}, repeat(100, func(i int) string { return fmt.Sprintf(`{"at":1,"k%d":{"v":1}}`, i) })...)
	if got := columns(s.Schema()); got != "at BIGINT, _rest JSON" {
		t.Fatal(got)
	}
	e, err := s.Observe([]byte(`{"at":2,"other":3}`))
	if err != nil || e.Misfit != nil || !e.Rewrite || len(e.Added) > 0 {
		t.Fatalf("%+v %v", e, err)
	}
	line, err := s.Rewrite([]byte("x"), []byte(`{"other":3,"at":2,"none":null}`))
	if string(line) != `x{"at":2,"_rest":{"other":3}}` || err != nil {
		t.Fatalf("%s %v", line, err)
	}
	notes := s.Explain()
	if n := notes[1]; n.Path != "_rest" || !strings.Contains(n.Reason, "more than 50 distinct top-level keys") {
		t.Errorf("%+v", notes[:2])
	}
}

// step is one record and what it means for the schema.
type step struct{ rec, want string }

func effect(e infer.Effect) string {
	var parts []string
	for _, a := range e.Added {
		parts = append(parts, "+"+append(a.Parent, a.Field.Name).String()+" "+a.Field.Type.SQL())
	}
	for _, w := range e.Widened {
		parts = append(parts, w.Path.String()+" "+w.From.SQL()+"→"+w.To.SQL())
	}
	if e.Misfit != nil {
		parts = append(parts, e.Misfit.Path.String()+" takes "+e.Misfit.Want+", has "+e.Misfit.Got+" "+e.Misfit.Text)
	}
	if e.Rewrite {
		parts = append(parts, "rewrite")
	}
	if e.Misfit == nil && !e.Learnable {
		parts = append(parts, "by value")
	}
	return strings.Join(parts, "; ")
}

func TestEvolution(t *testing.T) {
	sample := `{"id":1,"name":"x","at":"2026-11-20T03:00:00Z","pos":{"lat":1,"lon":2.5},"tags":["a"],"any":[],"ok":true}`
	typed := func(sql string) tarn.Type {
		typ, err := tarn.ParseType(sql)
		if err != nil {
			t.Fatal(err)
		}
		return typ
	}
	declared := &tarn.Schema{Fields: []tarn.Field{{Name: "id", Type: typed("BIGINT"), Required: true}, {Name: "pos", Type: typed("STRUCT(lat DOUBLE)")}}}
	for name, c := range map[string]struct {
		o        infer.Options
		declared bool
		steps    []step
	}{
		"evolve": {steps: []step{
			{`{"id":2}`, ""},
			{`{"id":null,"new":null}`, ""},
			{`{"new":5}`, "+new BIGINT"},
			{`{"new":6,"when":"2026-11-20T03:00:00Z"}`, "+when VARCHAR"},
			{`{"obj":{"a":1,"b":null}}`, `+obj STRUCT("a" BIGINT)`},
			{`{"obj":{"b":"x"}}`, "+obj.b VARCHAR"},
			{`{"pos":{"alt":3}}`, "+pos.alt BIGINT"},
			{`{"id":1.5}`, "id BIGINT→DOUBLE"},
			{`{"id":3,"pos":{"lat":0.5,"alt":7}}`, "pos.lat BIGINT→DOUBLE"},
			{`{"id":"x"}`, `id takes DOUBLE, has string "x"`},
			{`{"fresh":1,"id":"x"}`, `id takes DOUBLE, has string "x"`},
			{`{"name":{"first":"x"}}`, `name takes VARCHAR, has object {"first":"x"}`},
			{`{"name":17}`, ""},
			{`{"at":"yesterday"}`, `at takes TIMESTAMP, has string "yesterday"`},
			{`{"at":1700000000}`, "at takes TIMESTAMP, has integer 1700000000"},
			{`{"ok":1}`, "ok takes BOOLEAN, has integer 1"},
			{`{"pos":[1,2]}`, `pos takes STRUCT("lat" DOUBLE, "lon" DOUBLE, "alt" BIGINT), has array [1,2]`},
			{`{"tags":["a",1]}`, ""},
			{`{"tags":[["a"]]}`, `tags.element takes VARCHAR, has array ["a"]`},
			{`{"any":[1,"x",{}]}`, ""},
			{`{"any":{"x":5}}`, ""},
			{`{"ID":4}`, "+_rest JSON; rewrite"},
			{`{"pos":{"LAT":4}}`, "rewrite"},
			{`{"name":"a","name":"b"}`, "rewrite"},
			{`{"fresh":1}`, "+fresh BIGINT"},
		}},
		"fail": {o: infer.Options{Policy: infer.Fail}, steps: []step{
			{`{"id":2,"new":null}`, ""},
			{`{"new":5}`, "new takes no new field, has integer 5"},
			{`{"pos":{"alt":3}}`, "pos.alt takes no new field, has integer 3"},
			{`{"id":1.5}`, "id takes BIGINT, has number 1.5"},
			{`{"Id":1}`, "Id takes no new field, has integer 1"},
			{`{"id":1,"id":2}`, "rewrite"},
		}},
		"ignore": {o: infer.Options{Policy: infer.Ignore}, steps: []step{
			{`{"new":5,"id":7}`, ""},
			{`{"pos":{"alt":3,"lat":4}}`, ""},
			{`{"id":1.5}`, "id takes BIGINT, has number 1.5"},
		}},
		"no widening": {o: infer.Options{CanWiden: func(p infer.Path) bool { return p.String() != "id" }}, steps: []step{
			{`{"id":1.5}`, "id takes BIGINT, has number 1.5"},
			{`{"pos":{"lat":1.5}}`, "pos.lat BIGINT→DOUBLE"},
		}},
		"long integers pin BIGINT": {steps: []step{
			{`{"id":9007199254740993}`, ""},
			{`{"id":1.5}`, "id takes BIGINT, has number 1.5"},
			{`{"pos":{"lon":9007199254740993}}`, "pos.lon takes DOUBLE, has integer 9007199254740993"},
			{`{"pos":{"lon":9007199254740992}}`, "by value"},
			{`{"pos":{"lon":1e400}}`, "pos.lon takes DOUBLE, has number 1e400"},
		}},
		"limits": {o: infer.Options{MaxColumns: 8, MaxMembers: 3}, steps: []step{
			{`{"h":1}`, "+h BIGINT"},
			{`{"i":1}`, "+_rest JSON; rewrite"},
			{`{"pos":{"a":1,"b":2}}`, "+pos.a BIGINT; rewrite"},
		}},
		"declared": {declared: true, steps: []step{
			{`{"id":1}`, ""},
			{`{"id":"2"}`, ""},
			{`{"id":5.0}`, "by value"},
			{`{"id":5.5}`, "id takes BIGINT, has number 5.5"},
			{`{}`, "id takes BIGINT, has null "},
			{`{"id":null}`, "id takes BIGINT, has null null"},
			{`{"id":1,"new":"x"}`, "+new VARCHAR"},
			{`{"id":1,"pos":{"lat":"1.5","lon":2}}`, "+pos.lon BIGINT"},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s := learned(t, c.o, sample)
			if c.declared {
				s = infer.New(declared, c.o)
			}
			for _, st := range c.steps {
				before := string(s.Document())
				m, err := s.Check([]byte(st.rec))
				if err != nil {
					t.Fatal(err)
				}
				e, err := s.Observe([]byte(st.rec))
				if err != nil {
					t.Fatal(err)
				}
				if got := effect(e); got != st.want {
					t.Errorf("%s\ngot  %s\nwant %s", st.rec, got, st.want)
				}
				if !cmp.Equal(m, e.Misfit) {
					t.Errorf("%s: Check says %v, Observe %v", st.rec, m, e.Misfit)
				}
				if changed := before != string(s.Document()); changed != e.Changed && !c.declared {
					t.Errorf("%s: document changed %v, effect says %v", st.rec, changed, e.Changed)
				}
				if e.Misfit != nil && (tarn.CodeOf(e.Misfit.Err()) != tarn.CodeSchema || e.Verdict() != infer.Unknown) {
					t.Errorf("%s: %v", st.rec, e.Misfit.Err())
				}
			}
		})
	}
}

func TestMisfitText(t *testing.T) {
	s := learned(t, infer.Options{Policy: infer.Fail}, `{"a":1,"b":{"c d":"2026-11-20"}}`)
	for rec, want := range map[string]string{
		`{"a":"` + strings.Repeat("ä", 100) + `"}`: `a takes BIGINT, the record has string "` + strings.Repeat("ä", 38) + "…",
		`{"a":true}`:                 "a takes BIGINT, the record has boolean true",
		`{"a":1.5}`:                  "a takes BIGINT, the record has number 1.5: on_schema_change is fail, so it is not widened",
		`{"b":{"c d":"tomorrow"}}`:   `b."c d" takes DATE, the record has string "tomorrow": it is no date of the form 2026-11-20`,
		`{"b":{"c d":"2026-02-30"}}`: `b."c d" takes DATE, the record has string "2026-02-30": it is no date of the form 2026-11-20`,
		`{"n":[1]}`:                  "n is a new field, with array [1], and on_schema_change is fail",
	} {
		m, err := s.Check([]byte(rec))
		if err != nil || m == nil {
			t.Fatal(rec, err)
		}
		if got := m.Err(); got.Detail != want || got.Hint == "" || len(m.Text) > 80 {
			t.Errorf("%s\ngot  %s\nwant %s", rec, got.Detail, want)
		}
	}
}
