package infer_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/delivery/infer"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// TestGolden fixes the document: version 1 has to be read for ever.
func TestGolden(t *testing.T) {
	typ, err := tarn.ParseType(`MAP(VARCHAR, STRUCT(d DECIMAL(20,4), l DATE[]))`)
	if err != nil {
		t.Fatal(err)
	}
	s := infer.New(&tarn.Schema{Fields: []tarn.Field{{ID: 7, Name: "m", Type: typ, Required: true, Doc: "amounts"}}}, infer.Options{MaxColumns: 7})
	for _, rec := range []string{
		`{"m":{},"id":1,"at":"2026-11-20T03:00:00Z","pos":{"lat":1.5,"note":null},"tags":["a"],"any":[1,"x"],"late":null}`,
		`{"m":{},"id":2,"ID":3,"pos":{"lat":2}}`,
	} {
		if err := s.Sample([]byte(rec)); err != nil {
			t.Fatal(err)
		}
	}
	s.Decide()
	if _, err := s.Observe([]byte(`{"m":{},"id":1.5,"over":1}`)); err != nil {
		t.Fatal(err)
	}
	var doc bytes.Buffer
	if err := json.Indent(&doc, s.Document(), "", "  "); err != nil {
		t.Fatal(err)
	}
	const file = "testdata/state-v1.json"
	if *update {
		if err := os.WriteFile(file, append(doc.Bytes(), '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	golden, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(golden) != doc.String()+"\n" {
		t.Errorf("the document differs from %s; got\n%s", file, doc.String())
	}
	loaded, err := infer.Load(golden, infer.Options{MaxColumns: 7})
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(loaded.Document(), s.Document()) || !loaded.Schema().Equal(s.Schema()) || loaded.Schema().Fields[0].ID != 7 || loaded.Input().Select != s.Input().Select {
		t.Errorf("loading loses something:\n%s\n%s", loaded.Document(), s.Document())
	}
}

func TestLoadRefuses(t *testing.T) {
	for doc, code := range map[string]tarn.Code{
		``:              tarn.CodeInvalid,
		`{}`:            tarn.CodeUnsupported,
		`{"version":2}`: tarn.CodeUnsupported,
		`{"version":1}`: tarn.CodeInvalid,
		`{"version":1,"rest":"_rest","columns":[{"key":"a","type":"NONSENSE"}]}`:                  tarn.CodeInvalid,
		`{"version":1,"rest":"_rest","columns":[{"key":"a","type":"LIST"}]}`:                      tarn.CodeInvalid,
		`{"version":1,"rest":"_rest","columns":[{"key":"a","type":"MAP","element":{"key":"v"}}]}`: tarn.CodeInvalid,
		`{"version":1,"rest":"_rest","columns":[{"key":"a","type":"DECIMAL(4,2)"}]}`:              tarn.CodeInvalid,
		`{"version":1,"rest":"_rest","columns":[{"key":"a","declared":{"type":"?"}}]}`:            tarn.CodeInvalid,
	} {
		if _, err := infer.Load([]byte(doc), infer.Options{}); tarn.CodeOf(err) != code || err == nil {
			t.Errorf("%s: %v, want code %s", doc, err, code)
		}
	}
}

// TestDeterminism: the same records in the same order give the same state, also when the state is
// stored and loaded on the way, and a misfit leaves no trace.
func TestDeterminism(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		recs := rapid.SliceOfN(records(), 1, 20).Draw(t, "records")
		sample := rapid.IntRange(0, len(recs)).Draw(t, "sample")
		restart := rapid.IntRange(0, len(recs)).Draw(t, "restart")
		o := infer.Options{MaxColumns: 4, Policy: infer.Policy(rapid.IntRange(0, 2).Draw(t, "policy"))}
		play := func(restart int) *infer.State {
			s := infer.New(nil, o)
			for i, rec := range recs {
				if i == restart {
					loaded, err := infer.Load(s.Document(), o)
					if err != nil {
						t.Fatal(err)
					}
					s = loaded
				}
				if i < sample {
					if err := s.Sample(rec); err != nil {
						t.Fatal(err)
					}
					continue
				}
				s.Decide()
				before := s.Document()
				e, err := s.Observe(rec)
				if err != nil {
					t.Fatal(err)
				}
				if !e.Changed && !bytes.Equal(before, s.Document()) {
					t.Fatalf("%s changed the state unsaid", rec)
				}
				if e.Misfit != nil {
					continue
				}
				if again, _ := s.Observe(rec); len(again.Added)+len(again.Widened) > 0 || again.Misfit != nil || again.Rewrite != e.Rewrite {
					t.Fatalf("%s: first %+v, then %+v", rec, e, again)
				}
			}
			s.Decide()
			return s
		}
		a, b := play(-1), play(restart)
		if !bytes.Equal(a.Document(), b.Document()) {
			t.Fatalf("two runs differ:\n%s\n%s", a.Document(), b.Document())
		}
		names := map[string]bool{}
		for _, f := range a.Schema().Fields {
			if names[strings.ToLower(f.Name)] {
				t.Fatalf("%s stands twice in %s", f.Name, columns(a.Schema()))
			}
			names[strings.ToLower(f.Name)] = true
		}
	})
}

// TestVerdictsLast: what was learned of a record stays true however the schema evolves after it.
func TestVerdictsLast(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := infer.New(nil, infer.Options{MaxColumns: 6})
		verdicts := map[string]infer.Verdict{}
		for _, rec := range rapid.SliceOfN(records(), 1, 20).Draw(t, "records") {
			e, err := s.Observe(rec)
			if err != nil {
				t.Fatal(err)
			}
			if v := e.Verdict(); v != infer.Unknown {
				verdicts[string(rec)] = v
			}
		}
		for rec, v := range verdicts {
			e, err := s.Observe([]byte(rec))
			// An integer that a later DOUBLE rounds is what CanWiden is for.
			if err == nil && e.Verdict() != v && !longInteger.MatchString(rec) {
				t.Fatalf("%s was %d, now %+v", rec, v, e)
			}
		}
	})
}

func TestShapesAreBounded(t *testing.T) {
	s := infer.New(nil, infer.Options{MaxShapes: 3})
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range uint64(1000) {
				s.Learn(i, infer.Fits)
				s.Knows(i + uint64(g))
			}
		})
	}
	wg.Wait()
	s.Learn(5000, infer.Unknown)
	if s.Knows(5000) != infer.Unknown || s.Knows(999) == infer.Unknown {
		t.Error("the last shape learned is not known, or the unknown one is")
	}
	known := 0
	for i := range uint64(1000) {
		if s.Knows(i) != infer.Unknown {
			known++
		}
	}
	if known > 3 {
		t.Errorf("%d shapes are kept, the limit is 3", known)
	}
}

// TestConcurrent lets records evolve a schema while others read it.
func TestConcurrent(t *testing.T) {
	s := infer.New(nil, infer.Options{})
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 60 {
				rec := fmt.Appendf(nil, `{"a":%d,"k%d":{"x":%d},"":1}`, i, (i+g*7)%40, i)
				e, err := s.Observe(rec)
				if err != nil || e.Misfit != nil {
					t.Errorf("%s: %v %v", rec, e.Misfit, err)
				}
				if _, err := s.Rewrite(nil, rec); err != nil {
					t.Error(err)
				}
				s.Input()
				s.Explain()
				s.Document()
			}
		})
	}
	wg.Wait()
	if n := len(s.Schema().Fields); n != 42 {
		t.Errorf("%d columns, want 42", n)
	}
}

func TestRefusesWhatIsNoObject(t *testing.T) {
	for _, rec := range []string{``, ` `, `5`, `[]`, `{`, `{"a"}`, `{"a":}`, `{"a":1,}`, `{"a":01}`, `{"a":1.}`, `{"a":1e}`, `{"a":tru}`, `{"a":"\x"}`, "{\"a\":\"\n\"}",
		`{"a":"\ud800"}`, `{"a":"\ud800\u0041"}`, `{"a":"\udc00"}`, `{"a":"\u12"}`, "{\"a\":\"\xff\"}", `{"a":1}{}`, `{"a":[1,]}`, `{"a":[1 2]}`, `{"a":"`, `{"a":-}`,
		`{"a":` + strings.Repeat("[", 100_000)} {
		s := infer.New(nil, infer.Options{})
		if err := s.Sample([]byte(rec)); tarn.CodeOf(err) != tarn.CodeInvalidJSON {
			t.Errorf("Sample(%.40s): %v", rec, err)
		}
		if _, err := s.Observe([]byte(rec)); tarn.CodeOf(err) != tarn.CodeInvalidJSON {
			t.Errorf("Observe(%.40s): %v", rec, err)
		}
		if _, err := s.Check([]byte(rec)); tarn.CodeOf(err) != tarn.CodeInvalidJSON {
			t.Errorf("Check(%.40s): %v", rec, err)
		}
		if _, err := s.Rewrite(nil, []byte(rec)); tarn.CodeOf(err) != tarn.CodeInvalidJSON {
			t.Errorf("Rewrite(%.40s): %v", rec, err)
		}
		if len(s.Schema().Fields) > 0 || s.Decided() {
			t.Errorf("%.40s left a trace", rec)
		}
	}
}

func FuzzObserve(f *testing.F) {
	for _, h := range hooks {
		f.Add([]byte(h), []byte(h))
	}
	for _, rec := range []string{`{"a":1,"A":{"":[{}]}}`, `{"a":1.5,"a":2}`, `{"\u0061":"2026-11-20T03:00:00Z"}`, "{\"a\":[[],[{\"b\":\n1}]]}", `{"_rest":1e400}`, `{"a":"\ud83d\ude00"}`, `{`} {
		f.Add([]byte(rec), []byte(`{"a":{"b":[1]}}`))
	}
	f.Fuzz(func(t *testing.T, a, b []byte) {
		s := infer.New(nil, infer.Options{MaxColumns: 5, MaxMembers: 3})
		if err := s.Sample(a); err == nil != (json.Valid(a) && isObject(a)) && !loneSurrogate(a) {
			t.Fatalf("%q: %v", a, err)
		}
		s.Decide()
		for _, rec := range [][]byte{a, b, a} {
			e, err := s.Observe(rec)
			if err != nil || e.Misfit != nil {
				continue
			}
			line, err := s.Rewrite(nil, rec)
			if err != nil || !json.Valid(line) || bytes.ContainsAny(line, "\n\r") {
				t.Fatalf("%q becomes %q, %v", rec, line, err)
			}
			if again, err := s.Rewrite(nil, line); err != nil || e.Rewrite && len(again) == 0 {
				t.Fatalf("%q: %v", line, err)
			}
		}
		if _, err := infer.Load(s.Document(), infer.Options{}); err != nil {
			t.Fatal(err)
		}
		s.Explain()
		s.Input()
	})
}

func isObject(b []byte) bool {
	b = bytes.TrimLeft(b, " \t\r\n")
	return len(b) > 0 && b[0] == '{'
}

// loneSurrogate reports what encoding/json takes and DuckDB does not: escapes that are half a
// character, bytes that are no UTF-8, and depth.
func loneSurrogate(b []byte) bool {
	return bytes.Contains(bytes.ToLower(b), []byte(`\ud`)) || !bytes.Equal(bytes.ToValidUTF8(b, nil), b) || bytes.Count(b, []byte("["))+bytes.Count(b, []byte("{")) > 500
}

func BenchmarkObserve(b *testing.B) {
	rec := []byte(`{"event_id":"e-000001","device_id":"wagon-0001","ts":"2026-11-20T03:00:00.123Z","seq":17,"position":{"lat":52.52,"lon":13.405,"speed":80.5},"metrics":{"axle_1_c":25.5,"axle_2_c":26,"axle_3_c":25.75,"axle_4_c":24.5,"brake_bar":4.9,"vibration_g":0.12,"load_kg":21000,"battery_v":12.4,"humidity_pct":45,"ambient_c":-3.5},"state":"moving"}`)
	s := infer.New(nil, infer.Options{})
	if _, err := s.Observe(rec); err != nil {
		b.Fatal(err)
	}
	b.Run("observe", func(b *testing.B) {
		b.SetBytes(int64(len(rec)))
		b.ReportAllocs()
		for b.Loop() {
			if e, err := s.Observe(rec); err != nil || e.Misfit != nil {
				b.Fatal(e, err)
			}
		}
	})
	b.Run("rewrite", func(b *testing.B) {
		b.SetBytes(int64(len(rec)))
		b.ReportAllocs()
		var dst []byte
		for b.Loop() {
			dst, _ = s.Rewrite(dst[:0], rec)
		}
	})
}
