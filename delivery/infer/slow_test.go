package infer_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tarn-data/tarn/delivery/infer"
)

func TestSlow(t *testing.T) {
	mk := func(p string) []byte {
		var parts []string
		for i := range 80000 {
			parts = append(parts, fmt.Sprintf(`"%s%d":%d`, p, i, i))
		}
		return []byte("{" + strings.Join(parts, ",") + "}")
	}
	s := infer.New(nil, infer.Options{})
	for _, rec := range [][]byte{[]byte(`{"a":{"b":1}}`), mk("k"), mk("l"), mk("l"), []byte(`{"n":` + string(mk("z")) + `}`), []byte(`{"a":` + string(mk("z")) + `}`), []byte(`{"a":` + strings.Repeat(`{"b":`, 120) + "1" + strings.Repeat("}", 121)), []byte(`{"q":[` + strings.Repeat(`{"b":1,"c":[1,{}]},`, 50000) + "1]}")} {
		at := time.Now()
		e, err := s.Observe(rec)
		t.Log(time.Since(at), len(e.Added), err, e.Misfit != nil)
		at = time.Now()
		_, err = s.Rewrite(nil, rec)
		t.Log(time.Since(at), err)
	}
}
