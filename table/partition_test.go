package table_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/table"
)

func parseType(t testing.TB, s string) tarn.Type {
	t.Helper()
	typ, err := tarn.ParseType(s)
	must(t, err)
	return typ
}

func parseField(t testing.TB, s string) tarn.PartitionField {
	t.Helper()
	f, err := tarn.ParsePartitionField(s)
	must(t, err)
	return f
}

// partitionSample transforms one row's values into the partition of the table in TestPartitionedTable.
func partitionSample(t testing.TB, st *table.State) []any {
	t.Helper()
	at := time.Date(2026, 11, 20, 3, 4, 5, 678901000, time.UTC)
	row := map[string]any{"ts": at, "dev-ice": "wagon/7 =x", "id": int64(34), "d": at.Truncate(24 * time.Hour), "pos.lat": int64(-4),
		"price": "12.50", "u": uuid.MustParse("f79c3e09-677c-4bbd-a479-3f349cb785e7"), "at": at, "t": 3*time.Hour + time.Microsecond, "b": []byte{0, 0xff}, "ok": true, "x": 1.5}
	types := map[string]tarn.Type{"pos.lat": {Kind: tarn.Long}}
	for _, f := range st.Schema.Fields {
		types[f.Name] = f.Type
	}
	var out []any
	for _, f := range st.Partition {
		v, err := table.Transform(f, types[f.Source], row[f.Source])
		must(t, err)
		out = append(out, v)
	}
	return out
}

func TestTransform(t *testing.T) {
	at := time.Date(2026, 11, 20, 3, 4, 5, 0, time.UTC)
	before := time.Date(1969, 12, 31, 23, 30, 0, 0, time.UTC)
	for _, c := range []struct {
		field, typ string
		in, want   any
		path       string
	}{
		{"hour(ts)", "TIMESTAMP", at, int64(498651), "year=2026/month=11/date=20/hour=03"},
		{"hour(ts)", "TIMESTAMPTZ", at, int64(498651), "year=2026/month=11/date=20/hour=03"},
		{"hour(ts)", "TIMESTAMP", before, int64(-1), "year=1969/month=12/date=31/hour=23"},
		{"day(ts)", "TIMESTAMP", at, int64(20777), "year=2026/month=11/date=20"},
		{"day(ts)", "DATE", at, int64(20777), "year=2026/month=11/date=20"},
		{"day(ts)", "TIMESTAMP", before, int64(-1), "year=1969/month=12/date=31"},
		{"month(ts)", "TIMESTAMP", at, int64(682), "year=2026/month=11"},
		{"month(ts)", "TIMESTAMP", before, int64(-1), "year=1969/month=12"},
		{"year(ts)", "DATE", at, int64(56), "year=2026"},
		{"hour(ts)", "TIMESTAMP", nil, nil, "year=__HIVE_DEFAULT_PARTITION__/month=__HIVE_DEFAULT_PARTITION__/date=__HIVE_DEFAULT_PARTITION__/hour=__HIVE_DEFAULT_PARTITION__"},
		{"device_id", "VARCHAR", "wagon-7", "wagon-7", "device_id=wagon-7"},
		{"device_id", "VARCHAR", "a/b=c %ü", "a/b=c %ü", "device_id=a%2Fb%3Dc%20%25%C3%BC"},
		{"device_id", "VARCHAR", "..", "..", "device_id=.."},
		{"device_id", "VARCHAR", nil, nil, "device_id=__HIVE_DEFAULT_PARTITION__"},
		{"device_id", "BIGINT", int64(-7), int64(-7), "device_id=-7"},
		{"ok", "BOOLEAN", true, true, "ok=true"},
		{"d", "DATE", at.Truncate(24 * time.Hour), at.Truncate(24 * time.Hour), "d=2026-11-20"},
		{"x", "DOUBLE", 0.5, 0.5, "x=0.5"},
		{"b", "BLOB", []byte{1, 0xab}, []byte{1, 0xab}, "b=01ab"},
		{"price", "DECIMAL(10,2)", "12.5", "12.50", "price=12.50"},
		{"bucket(16, id)", "BIGINT", int64(34), int64(3), "id_bucket=3"}, // hash 2017239379 in the specification's appendix B
		{"bucket(16, id)", "INTEGER", int64(34), int64(3), "id_bucket=3"},
		{"bucket(100, s)", "VARCHAR", "iceberg", int64(1210000089 % 100), "s_bucket=89"},
		{"truncate(3, s)", "VARCHAR", "iceberg", "ice", "s_trunc=ice"},
		{"truncate(10, n)", "BIGINT", int64(-1), int64(-10), "n_trunc=-10"},
	} {
		f := parseField(t, c.field)
		got, err := table.Transform(f, parseType(t, c.typ), c.in)
		if b, ok := c.want.([]byte); ok && err == nil {
			if string(got.([]byte)) != string(b) {
				t.Errorf("%s of %v = %v", c.field, c.in, got)
			}
		} else if err != nil || got != c.want {
			t.Errorf("%s of %v = %#v, %v; want %#v", c.field, c.in, got, err, c.want)
		}
		if path := table.PartitionPath([]tarn.PartitionField{f}, []any{got}); path != c.path {
			t.Errorf("%s of %v lies at %s, want %s", c.field, c.in, path, c.path)
		}
	}
	if _, err := table.Transform(parseField(t, "hour(ts)"), tarn.Type{Kind: tarn.Timestamp}, "text"); err == nil {
		t.Error("a string has an hour")
	}
	if got := table.PartitionPath(nil, nil); got != "" {
		t.Errorf("no partition lies at %q", got)
	}
}

func TestPartitionPathStaysOneElement(t *testing.T) {
	f := []tarn.PartitionField{parseField(t, "s")}
	seen := map[string]string{}
	for _, v := range []string{strings.Repeat("ü", 500), strings.Repeat("ü", 501), strings.Repeat("a", 99) + "%", "\x00\n", ".", "/", `\`} {
		p := table.PartitionPath(f, []any{v})
		if strings.ContainsAny(p, "/\\\x00\n") || len(p) > 120 || seen[p] != "" {
			t.Errorf("%q lies at %q", v, p)
		}
		seen[p] = v
	}
}

func TestParsePartitionValue(t *testing.T) {
	for _, c := range []struct {
		field, typ, text string
		want             any
	}{
		{"hour(ts)", "TIMESTAMP", "498651", int64(498651)},
		{"hour(ts)", "TIMESTAMP", "", nil},
		{"hour(ts)", "TIMESTAMP", "__HIVE_DEFAULT_PARTITION__", nil},
		{"s", "VARCHAR", "", ""},
		{"s", "VARCHAR", "x", "x"},
		{"d", "DATE", "2026-11-20", time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)},
		{"n", "BIGINT", "-3", int64(-3)},
	} {
		got, err := table.ParsePartitionValue(parseField(t, c.field), parseType(t, c.typ), c.text)
		if err != nil || got != c.want {
			t.Errorf("%s %q = %#v, %v", c.field, c.text, got, err)
		}
	}
	_, err := table.ParsePartitionValue(parseField(t, "hour(ts)"), tarn.Type{Kind: tarn.Timestamp}, "soon")
	wantCode(t, err, tarn.CodeInvalid)
}
