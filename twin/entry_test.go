package twin

import (
	"encoding/hex"
	"testing"
	"time"

	"github.com/tarn-data/tarn"
)

func packed() entry {
	u := Update{Component: "wagon/7", Type: "wagon", Metric: "speed", Value: NumberValue(83.5), At: time.Date(2026, 11, 20, 3, 0, 0, 0, time.UTC), Unit: "km/h", Pipeline: "telemetry", Source: "unpivot",
		Position: Position{"telemetry", tarn.Position{Shard: 3, Offset: 1842}}}
	return newEntry(&u, true)
}

// The stored form is what databases hold: another one needs another version.
func TestGolden(t *testing.T) {
	e := packed()
	got := hex.EncodeToString(e.pack(nil))
	const golden = "01010103b20e1bca0cdfc217eede4054e00000000000057761676f6e046b6d2f680974656c656d6574727907756e7069766f740974656c656d6574727900"
	if got != golden {
		t.Errorf("%s\nwant %s", got, golden)
	}
	back, err := unpack("speed", e.at, e.pack(nil))
	if err != nil || back != e {
		t.Errorf("%+v\nwant %+v (%v)", back, e, err)
	}
}

func FuzzUnpack(f *testing.F) {
	e := packed()
	f.Add(e.pack(nil))
	e.kind, e.text = JSON, `{"a":1}`
	f.Add(e.pack(nil))
	f.Add([]byte{1, 1, 0, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255})
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := unpack("m", 0, b)
		if err != nil {
			return
		}
		again, err := unpack("m", 0, e.pack(nil))
		if err != nil || again != e && e.number == e.number {
			t.Errorf("%+v\n%+v (%v)", e, again, err)
		}
	})
}

func FuzzParseValue(f *testing.F) {
	for _, s := range []string{"1", "-1.5e3", `"a\u0000"`, "true", "[1, 2]", `{"a": null}`, "null", "1e999", " 1 ", "{", ""} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := ParseValue(b)
		if err != nil {
			return
		}
		again, err := ParseValue(v.AppendJSON(nil))
		if err != nil || again != v {
			t.Errorf("%q is %+v, and its text %q is %+v (%v)", b, v, v.AppendJSON(nil), again, err)
		}
	})
}
