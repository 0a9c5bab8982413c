package catalog_test

import (
	"bytes"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/twmb/avro"
	"github.com/twmb/avro/ocf"

	"github.com/tarn-data/tarn/catalog"
)

// avroSchema has every type.
const avroSchema = `{"type": "record", "name": "Reading", "namespace": "fleet", "fields": [
	{"name": "b", "type": "boolean"}, {"name": "i", "type": "int"}, {"name": "l", "type": "long"},
	{"name": "f", "type": "float"}, {"name": "d", "type": "double"}, {"name": "s", "type": "string"},
	{"name": "raw", "type": "bytes"}, {"name": "fix", "type": {"type": "fixed", "name": "Four", "size": 4}},
	{"name": "kind", "type": {"type": "enum", "name": "Kind", "symbols": ["A", "B"]}},
	{"name": "day", "type": {"type": "int", "logicalType": "date"}},
	{"name": "clock", "type": {"type": "long", "logicalType": "time-micros"}},
	{"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
	{"name": "wall", "type": {"type": "long", "logicalType": "local-timestamp-millis"}},
	{"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 10, "scale": 2}},
	{"name": "id", "type": {"type": "string", "logicalType": "uuid"}},
	{"name": "maybe", "type": ["null", "long"]}, {"name": "list", "type": {"type": "array", "items": "int"}},
	{"name": "tags", "type": {"type": "map", "values": "string"}},
	{"name": "place", "type": ["null", {"type": "record", "name": "Place", "fields": [{"name": "lat", "type": "double"}, {"name": "name", "type": ["null", "string"]}]}]},
	{"name": "other", "type": ["null", "Place"]},
	{"name": "any", "type": ["null", "string", "long"]}]}`

func avroRow(n int) map[string]any {
	at := time.Date(2026, 11, 20, 3, 4, 5, 678901000, time.UTC)
	return map[string]any{"b": true, "i": 7, "l": int64(1) << 60, "f": float32(1.5), "d": 2.25, "s": "a \"quote\"\n", "raw": []byte{0, 255, 'x'}, "fix": []byte("abcd"),
		"kind": "B", "day": at.Truncate(24 * time.Hour), "clock": 3*time.Hour + 123456*time.Microsecond, "at": at, "wall": at.Truncate(time.Millisecond),
		"price": big.NewRat(12345, 100), "id": "b5b1f4f0-9d1e-4a8e-9b62-0a3c5d6e7f80", "maybe": map[bool]any{true: int64(n), false: nil}[n%2 == 0],
		"list": []int{1, 2, 3}, "tags": map[string]string{"k": "v"}, "place": map[string]any{"lat": 1.25, "name": nil}, "other": nil, "any": "text"}
}

func avroFile(t testing.TB) string {
	t.Helper()
	var b bytes.Buffer
	w, err := ocf.NewWriter(&b, avro.MustParse(avroSchema), ocf.WithCodec(ocf.SnappyCodec()))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if err := w.Encode(avroRow(i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestAvro: Avro is converted once for each content, and every type comes out as itself.
func TestAvro(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.put("t/p=1/a.avro", avroFile(t))
	f.put("t/p=2/b.bin", avroFile(t))
	equal(t, summary(f.crawl()), `created raw.t avro 2 by p v1: b BOOLEAN, i INTEGER, l BIGINT, f FLOAT, d DOUBLE, s VARCHAR, raw BLOB, fix BLOB, kind VARCHAR, day DATE, clock TIME, `+
		`at TIMESTAMP WITH TIME ZONE, wall TIMESTAMP, price DECIMAL(10,2), id UUID, maybe BIGINT, list INTEGER[], tags MAP(VARCHAR, VARCHAR), `+
		`place STRUCT("lat" DOUBLE, "name" VARCHAR), other STRUCT("lat" DOUBLE, "name" VARCHAR), any JSON, p BIGINT`)
	got := f.rows("raw.t", `b, i, l, f, d, s, hex(raw), fix::VARCHAR, kind, day::VARCHAR, clock::VARCHAR, "at"::VARCHAR, wall::VARCHAR, price::VARCHAR, id::VARCHAR, maybe, list::VARCHAR, tags::VARCHAR, place::VARCHAR, other, "any"::VARCHAR, p`)
	want := `true|7|1152921504606846976|1.5|2.25|a "quote"` + "\n" + `|00FF78|abcd|B|2026-11-20|03:00:00.123456|2026-11-20 03:04:05.678901+00|2026-11-20 03:04:05.678|123.45|b5b1f4f0-9d1e-4a8e-9b62-0a3c5d6e7f80|0|[1, 2, 3]|{k=v}|{'lat': 1.25, 'name': NULL}|<nil>|"text"|1`
	if len(got) != 6 || got[0] != want {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), want)
	}
	f.put("t/p=1/cut.avro", avroFile(t)[:1500])
	r := f.crawl()
	if r.Files.Skipped[catalog.Malformed] != 1 || r.Files.Opened != 1 {
		t.Errorf("%+v %+v", r.Files, r.Skipped)
	}
}
