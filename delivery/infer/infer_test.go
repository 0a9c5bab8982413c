package infer

import (
	"testing"
)

func TestSmoke(t *testing.T) {
	s := New(nil, Options{})
	for _, r := range []string{`{"a":1,"b":"2026-11-20T03:00:00Z","c":{"x":1.5,"y":null},"d":[1,2],"Id":1,"id":2,"":5,"dd":1,"dd":2}`} {
		e, err := s.Observe([]byte(r))
		t.Logf("%+v %v", e, err)
		out, err := s.Rewrite(nil, []byte(r))
		t.Logf("%s %v", out, err)
	}
	for _, n := range s.Explain() {
		t.Logf("%+v", n)
	}
	t.Log(s.Input())
	t.Log(string(s.Document()))
	l, err := Load(s.Document(), Options{})
	t.Log(err, string(l.Document()) == string(s.Document()))
	e, err := s.Observe([]byte(`{"a":1.5,"c":{"x":1,"y":7,"z":{"q":[1]}},"n":"2026-11-20"}`))
	t.Logf("%+v %v", e, err)
	e, err = s.Observe([]byte(`{"a":"x"}`))
	t.Logf("%+v %v %v", e, err, e.Misfit.Err())
}
