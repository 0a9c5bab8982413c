package icebergtest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/apache/iceberg-go"
	icebergtable "github.com/apache/iceberg-go/table"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/table"
)

const hour0 = 498651 // 2026-11-20 03:00 in hours since 1970

// events are rows of one hour, 100 each, ids from base on.
func events(base, hour int, more string) string {
	return fmt.Sprintf(`SELECT %[1]d + i AS id, make_timestamp((%[2]d * 3600 + i) * 1000000) AS ts, 'wagon-' || (i %% 7) AS device,
		CAST(i %% 100 AS BIGINT) AS value, {'lat': i / 10.0, 'lon': NULL::DOUBLE} AS pos, [i, i + 1]::BIGINT[] AS tags, '{"n":' || i || '}' AS raw%[3]s FROM range(100) t(i)`, base, hour, more)
}

// The whole life of a table: two changes of schema, one of them a rewrite, compaction, expiry. After
// every step DuckDB by field ids and iceberg-go's scan give the same, right rows; in the end plain
// read_parquet over the Hive paths does so too.
func TestEnginesAgree(t *testing.T) {
	r := newRig(t)
	ctx := t.Context()
	st, err := r.Ensure(ctx, table.Definition{Name: name, Partition: spec("hour(ts)"),
		Schema: schema("id", "BIGINT", "ts", "TIMESTAMP", "device", "VARCHAR", "value", "BIGINT", "pos", "STRUCT(lat DOUBLE, lon DOUBLE)", "tags", "BIGINT[]", "raw", "JSON")})
	must(t, err)
	part := func(base int, more string) map[any]string {
		return map[any]string{int64(hour0): events(base, hour0, more), int64(hour0 + 1): events(base+100, hour0+1, more)}
	}
	for i := range 3 {
		st = r.commit(part(i*200, ""))
	}
	first := st
	want := "SELECT * FROM (" + events(0, hour0, "")
	union := func(base int, more string) string {
		return " UNION ALL " + events(base+100, hour0+1, more) + " UNION ALL " + events(base+200, hour0, more)
	}
	want += union(0, "") + union(200, "") + " UNION ALL " + events(500, hour0+1, "") + ")"
	r.agree("before any change", st, want, 600)

	// One: new columns, also within the struct.
	_, err = r.Evolve(ctx, name, table.Change{Add: []table.AddColumn{
		{Field: schema("speed", "DOUBLE").Fields[0]}, {Parent: []string{"pos"}, Field: schema("alt", "INTEGER").Fields[0]}}}, nil)
	must(t, err)
	evolved := `SELECT id, ts, device, value, {'lat': pos.lat, 'lon': pos.lon, 'alt': NULL::INTEGER} AS pos, tags, raw, NULL::DOUBLE AS speed FROM (` + want + ")"
	newer := func(base, hour int) string {
		return `SELECT id, ts, device, value, {'lat': pos.lat, 'lon': pos.lon, 'alt': CAST(id % 9 AS INTEGER)} AS pos, tags, raw, CAST(id / 4.0 AS DOUBLE) AS speed FROM (` + events(base, hour, "") + ")"
	}
	st = r.commit(map[any]string{int64(hour0): newer(600, hour0), int64(hour0 + 1): newer(700, hour0+1)})
	want = "SELECT * FROM (" + evolved + " UNION ALL " + newer(600, hour0) + " UNION ALL " + newer(700, hour0+1) + ")"
	r.agree("with new columns", st, want, 800)

	// Two: BIGINT to DOUBLE, which rewrites, and INTEGER to BIGINT within the struct, which does not.
	st, err = r.Evolve(ctx, name, table.Change{Widen: []table.Widen{
		{Path: []string{"value"}, Type: tarn.Type{Kind: tarn.Double}}, {Path: []string{"pos", "alt"}, Type: tarn.Type{Kind: tarn.Long}}}}, r.rewrite)
	must(t, err)
	widened := func(q string) string {
		return `SELECT id, ts, device, CAST(value AS DOUBLE) AS value, {'lat': pos.lat, 'lon': pos.lon, 'alt': CAST(pos.alt AS BIGINT)} AS pos, tags, raw, speed FROM (` + q + ")"
	}
	want = widened(want)
	r.agree("widened", st, want, 800)
	for i := range 5 {
		q := widened(newer(800+100*i, hour0+2))
		r.commit(map[any]string{int64(hour0 + 2): q})
		want += " UNION ALL " + q
	}
	st = r.commit(map[any]string{nil: "SELECT * REPLACE (NULL::TIMESTAMP AS ts, 'NaN'::DOUBLE AS value) FROM (" + widened(newer(1300, hour0)) + ")"})
	want += " UNION ALL SELECT * REPLACE (NULL::TIMESTAMP AS ts, 'NaN'::DOUBLE AS value) FROM (" + widened(newer(1300, hour0)) + ")"
	r.agree("with late and timeless rows", st, want, 1400)

	res, err := r.Compact(ctx, name, r.rewrite, table.CompactOptions{MinFiles: 2})
	must(t, err)
	if res.Groups < 1 || res.Rows < 500 {
		t.Errorf("compaction %+v", res)
	}
	st, err = r.RewriteManifests(ctx, name)
	must(t, err)
	r.agree("compacted", st, want, 1400)

	old, err := r.StateAt(ctx, name, table.AsOf{Snapshot: first.SnapshotID})
	must(t, err)
	r.same("time travel", r.relation(old), r.scanned(old), 600)

	time.Sleep(5 * time.Millisecond)
	_, err = r.ExpireSnapshots(ctx, name, 0, 1)
	must(t, err)
	st, err = r.State(ctx, name)
	must(t, err)
	r.agree("expired", st, want, 1400)
	glob := r.bucket.URL("curated/telemetry/year=*/month=*/date=*/hour=*/*.parquet")
	r.same("plain read_parquet", "SELECT * FROM read_parquet("+tarn.QuoteLiteral(glob)+", hive_partitioning=false, union_by_name=true)", want, 1400)
	hive, err := r.duck.Values(ctx, "SELECT count(*) FROM read_parquet("+tarn.QuoteLiteral(glob)+", hive_partitioning=true) WHERE year = 2026 AND hour = 4")
	must(t, err)
	if fmt.Sprint(hive[0][0]) != "400" {
		t.Errorf("by Hive folders DuckDB finds %v rows of one hour, want 400", hive[0][0])
	}
}

// TestClockSetBack: what is committed after the clock ran a year ahead is read like anything else, before
// and after a commit with the right time.
func TestClockSetBack(t *testing.T) {
	r := newRig(t)
	var ahead time.Duration
	r.Store = table.Open(r.db, r.bucket, table.Options{Clock: func() time.Time { return time.Now().Add(ahead) }})
	def := table.Definition{Name: name, Partition: spec("hour(ts)"),
		Schema: schema("id", "BIGINT", "ts", "TIMESTAMP", "device", "VARCHAR", "value", "BIGINT", "pos", "STRUCT(lat DOUBLE, lon DOUBLE)", "tags", "BIGINT[]", "raw", "JSON")}
	_, err := r.Ensure(t.Context(), def)
	must(t, err)
	r.commit(map[any]string{int64(hour0): events(0, hour0, "")})
	ahead = 365 * 24 * time.Hour
	r.commit(map[any]string{int64(hour0): events(100, hour0, "")})
	ahead = 0
	want := events(0, hour0, "") + " UNION ALL " + events(100, hour0, "")
	def.Properties = map[string]string{"owner": "fleet"} // a new version, no snapshot
	st, err := r.Ensure(t.Context(), def)
	must(t, err)
	r.agree("without a commit since", st, "SELECT * FROM ("+want+")", 200)
	want += " UNION ALL " + events(200, hour0, "")
	st = r.commit(map[any]string{int64(hour0): events(200, hour0, "")})
	r.agree("with one", st, "SELECT * FROM ("+want+")", 300)
	if log := slices.Collect(r.iceberg(st).Metadata().SnapshotLogs()); len(log) != 1 || log[0].SnapshotID != st.SnapshotID {
		t.Errorf("snapshot log %v", log)
	}
}

// iceberg-go skips files by our partitions and by our bounds.
func TestPruning(t *testing.T) {
	r := newRig(t)
	ctx := t.Context()
	_, err := r.Ensure(ctx, table.Definition{Name: name, Partition: spec("hour(ts)"),
		Schema: schema("id", "BIGINT", "ts", "TIMESTAMP", "device", "VARCHAR", "value", "BIGINT", "pos", "STRUCT(lat DOUBLE, lon DOUBLE)", "tags", "BIGINT[]", "raw", "JSON")})
	must(t, err)
	var st *table.State
	for h := range 20 {
		st = r.commit(map[any]string{int64(hour0 + h): events(h*100, hour0+h, "")})
	}
	plan := func(e iceberg.BooleanExpression) int {
		t.Helper()
		tasks, err := r.iceberg(st).Scan(icebergtable.WithRowFilter(e)).PlanFiles(ctx)
		must(t, err)
		return len(tasks)
	}
	at := iceberg.Timestamp(time.Date(2026, 11, 20, 5, 0, 30, 0, time.UTC).UnixMicro())
	for what, c := range map[string]struct {
		filter iceberg.BooleanExpression
		files  int
	}{
		"all":           {iceberg.AlwaysTrue{}, 20},
		"one hour":      {iceberg.EqualTo(iceberg.Reference("ts"), at), 1},
		"from an hour":  {iceberg.GreaterThanEqual(iceberg.Reference("ts"), at), 18},
		"one id":        {iceberg.EqualTo(iceberg.Reference("id"), int64(555)), 1},
		"no id":         {iceberg.EqualTo(iceberg.Reference("id"), int64(99999)), 0},
		"some ids":      {iceberg.LessThan(iceberg.Reference("id"), int64(250)), 3},
		"a nested one":  {iceberg.GreaterThan(iceberg.Reference("pos.lat"), 10.0), 0},
		"only nulls":    {iceberg.NotNull(iceberg.Reference("pos.lon")), 0},
		"a late device": {iceberg.GreaterThan(iceberg.Reference("device"), "wagon-6"), 0},
		"a device":      {iceberg.EqualTo(iceberg.Reference("device"), "wagon-3"), 20},
	} {
		if got := plan(c.filter); got != c.files {
			t.Errorf("%s: %d files, want %d", what, got, c.files)
		}
	}
}

// Every type survives the way through DuckDB, Iceberg and back, with bounds that iceberg-go decodes.
func TestTypes(t *testing.T) {
	r := newRig(t)
	ctx := t.Context()
	_, err := r.Ensure(ctx, table.Definition{Name: name, Schema: schema("b", "BOOLEAN", "i", "INTEGER", "l", "BIGINT", "f", "FLOAT", "d", "DOUBLE", "p", "DECIMAL(18,3)",
		"day", "DATE", "tod", "TIME", "ts", "TIMESTAMP", "tz", "TIMESTAMPTZ", "s", "VARCHAR", "u", "UUID", "x", "BLOB", "m", "MAP(VARCHAR, BIGINT)", "deep", "STRUCT(a STRUCT(b DECIMAL(9,2))[])[]")})
	must(t, err)
	q := `SELECT i % 2 = 0 AS b, CAST(i AS INTEGER) - 5 AS i, CAST(i AS BIGINT) << 40 AS l, CAST(i / 3.0 AS FLOAT) AS f, CAST(i / 7.0 AS DOUBLE) AS d, CAST(i - 4.125 AS DECIMAL(18,3)) AS p,
		DATE '1969-12-25' + CAST(i AS INTEGER) AS day, TIME '03:04:05.000006' + to_seconds(CAST(i AS INTEGER)) AS tod, TIMESTAMP '1969-12-31 23:59:55.5' + to_seconds(CAST(i AS INTEGER)) AS ts,
		TIMESTAMPTZ '2026-11-20 03:04:05.000006+00' + to_hours(CAST(i AS INTEGER)) AS tz, repeat('é', CAST(i * 3 AS BIGINT)) AS s,
		CAST('00000000-0000-4000-8000-00000000000' || i AS UUID) AS u, encode(repeat('z', CAST(i AS BIGINT))) AS x,
		MAP {'k' || i: CAST(i AS BIGINT), 'n': NULL} AS m, [{'a': [{'b': CAST(i AS DECIMAL(9,2))}]}, NULL] AS deep FROM range(10) t(i)
		UNION ALL SELECT ` + nulls(15)
	st := r.commit(map[any]string{nil: q})
	r.agree("types", st, q, 11)
	files, err := r.Files(ctx, st)
	must(t, err)
	for _, f := range st.Schema.Fields {
		c := files[0].Columns[f.ID]
		switch f.Name {
		case "u", "x", "m", "deep", "b":
		default:
			if c.Lower == nil || c.Upper == nil {
				t.Errorf("%s has the bounds %v to %v", f.Name, c.Lower, c.Upper)
			}
			if c.Nulls != 1 || c.Values != 11 {
				t.Errorf("%s has %d values, %d nulls", f.Name, c.Values, c.Nulls)
			}
		}
	}
	for what, e := range map[string]iceberg.BooleanExpression{
		"date":      iceberg.LessThan(iceberg.Reference("day"), iceberg.Date(-7)),
		"time":      iceberg.LessThan(iceberg.Reference("tod"), iceberg.Time(11045000006)),
		"timestamp": iceberg.GreaterThan(iceberg.Reference("ts"), iceberg.Timestamp(4500000)),
		"double":    iceberg.GreaterThan(iceberg.Reference("d"), 1.3),
		"float":     iceberg.GreaterThan(iceberg.Reference("f"), float32(3.1)),
		"string":    iceberg.GreaterThan(iceberg.Reference("s"), "ê"),
	} {
		tasks, err := r.iceberg(st).Scan(icebergtable.WithRowFilter(e)).PlanFiles(ctx)
		must(t, err)
		if len(tasks) != 0 {
			t.Errorf("%s: the bounds do not exclude the file", what)
		}
	}
}

func nulls(n int) string {
	s := "NULL"
	for range n - 1 {
		s += ", NULL"
	}
	return s
}

// Hostile column names survive: they are matched by field id, never by name.
func TestOddNames(t *testing.T) {
	r := newRig(t)
	ctx := t.Context()
	_, err := r.Ensure(ctx, table.Definition{Name: name, Schema: schema("select", "BIGINT", `quo"te`, "VARCHAR", "dotted.name", "BIGINT", "ümläut 車", "STRUCT(\"a-b\" BIGINT)", "1st", "BIGINT"),
		Partition: spec("1st")})
	must(t, err)
	q := `SELECT 1::BIGINT AS "select", 'x' AS "quo""te", 2::BIGINT AS "dotted.name", {'a-b': 3::BIGINT} AS "ümläut 車", 4::BIGINT AS "1st"`
	st := r.commit(map[any]string{int64(4): q})
	r.agree("odd names", st, q, 1)
}
