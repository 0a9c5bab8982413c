package delivery_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/delivery"
	"github.com/tarn-data/tarn/duck"
	"github.com/tarn-data/tarn/record"
)

// refer appends lines of a file to a shard as a reference.
func (w *world) refer(shard int, file string, lines ...string) {
	w.t.Helper()
	common := []record.Member{{Name: "_file", Value: file}}
	seg := record.Segment{Payload: []byte(strings.Join(lines, "\n") + "\n"), Lines: true, Count: len(lines), Common: common}
	written := seg
	written.Complete()
	framed, err := record.Frame(written.Payload, record.KindNDJSON, record.FrameOptions{})
	if err != nil || framed.Accepted != len(lines) {
		w.t.Fatal(err, framed.Rejected)
	}
	ref := "ref-" + uuid.NewString()
	w.far.Store(ref, seg)
	if _, err := w.stream.Append(w.t.Context(), shard, record.Segment{Ref: []byte(ref), Lines: true, Count: len(lines), Shapes: framed.Parts[0].Segment.Shapes}, ""); err != nil {
		w.t.Fatal(err)
	}
}

// TestCompact: records with common members come to the table as if they had been written out, whatever lies
// between them.
func TestCompact(t *testing.T) {
	w := newWorld(t, 2)
	cfg := w.config()
	d := w.run(cfg)
	w.refer(0, "it's.csv", `{"a":1,"_line":1}`, `{"a":2,"_line":2}`)
	w.flush(d) // from here on the columns are known
	w.refer(0, "it's.csv", `{"a":3,"_line":3}`, `{"a":4,"_line":4}`)
	w.refer(1, "other.csv", `{"a":5,"_line":1}`)
	w.put(0, `{"a":6}`)
	w.refer(0, "it's.csv", `{"a":7,"_line":5}`, `{"_line":6,"more":true}`)
	w.refer(0, "it's.csv", `{"a":9,"_line":7}`)
	w.flush(d)
	w.want(d, "SELECT a, _file, _line, more FROM t", "1 it's.csv 1 <nil>", "2 it's.csv 2 <nil>", "3 it's.csv 3 <nil>", "4 it's.csv 4 <nil>",
		"5 other.csv 1 <nil>", "6 <nil> <nil> <nil>", "7 it's.csv 5 <nil>", "<nil> it's.csv 6 true", "9 it's.csv 7 <nil>")
	w.balance(0, 8, 8, 0, 0)
	w.balance(1, 1, 1, 0, 0)
}

// TestCompactNUL: a pushed file may have any name, also one with a zero byte, which becomes SQL text.
func TestCompactNUL(t *testing.T) {
	w := newWorld(t, 1)
	d := w.run(w.config())
	w.refer(0, "a\x00b", `{"a":1,"_line":1}`)
	w.flush(d)
	w.refer(0, "a\x00b", `{"a":2,"_line":2}`)
	w.flush(d)
	w.want(d, "SELECT a, length(_file) FROM t", "1 3", "2 3")
}

// TestCompactPartitions: a column that all records of a chunk have the same value of may part the table.
func TestCompactPartitions(t *testing.T) {
	for _, spec := range []string{"_file", "truncate(2, _file)", "bucket(4, _file)"} {
		w := newWorld(t, 1)
		cfg := w.config()
		f, err := tarn.ParsePartitionField(spec)
		if err != nil {
			t.Fatal(err)
		}
		cfg.Partition = []tarn.PartitionField{f}
		for _, direct := range []int64{1, 1 << 20} {
			cfg.DirectBytes = direct
			d := w.run(cfg)
			w.refer(0, "it's.csv", `{"a":1,"_line":1}`)
			w.flush(d)
			w.refer(0, "it's.csv", `{"a":2,"_line":2}`)
			w.flush(d)
			w.refer(0, "other.csv", `{"a":3,"_line":1}`)
			w.flush(d)
			w.want(d, "SELECT DISTINCT a, _file, typeof(_file) FROM t WHERE _file < 'p'", "1 it's.csv VARCHAR", "2 it's.csv VARCHAR", "3 other.csv VARCHAR")
			d.stop()
		}
		st, _ := w.store.State(t.Context(), tableName)
		files, err := w.store.Files(t.Context(), st)
		if err != nil {
			t.Fatal(err)
		}
		seen := map[any]bool{}
		for _, file := range files {
			seen[file.Partition[0]] = true
			c := file.Columns[st.Schema.Lookup("_file").ID]
			if c.Lower != c.Upper || c.Lower != "it's.csv" && c.Lower != "other.csv" || c.Nulls != 0 || c.Values != file.Rows {
				t.Errorf("%s: the column of a file is said to hold %+v", spec, c)
			}
		}
		if len(seen) != 2 {
			t.Errorf("%s: the values of the partitions are %v", spec, seen)
		}
	}
}

// TestCompactFailures: what becomes of a record that cannot be converted, or whose rows the user's SQL
// refuses, is what becomes of it when it is written out.
func TestCompactFailures(t *testing.T) {
	w := newWorld(t, 1)
	cfg := w.config()
	cfg.Transform = rowByRow(sqlSteps("SELECT 10 // a AS x, _file AS file, _line AS line, CASE WHEN a = 0 THEN error('no zero') END AS bad FROM records"))
	d := w.run(cfg)
	w.refer(0, "f.csv", `{"a":1,"_line":1}`)
	w.flush(d)
	w.refer(0, "f.csv", `{"a":2,"_line":2}`, `{"a":0,"_line":3}`, `{"a":5,"_line":4}`)
	w.flush(d)
	w.want(d, "SELECT x, file, line FROM t", "10 f.csv 1", "5 f.csv 2", "2 f.csv 4")
	failed := w.failed()
	if len(failed) != 1 || string(failed[0].Record) != `{"a":0,"_line":3,"_file":"f.csv"}` || failed[0].Offset != 2 {
		t.Errorf("%+v", failed)
	}
	w.balance(0, 4, 3, 1, 0)
}

// TestCompactModel delivers random runs of records, of files and of none, in one go and with restarts, and
// compares with the records.
func TestCompactModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		shards := rapid.IntRange(1, 2).Draw(rt, "shards")
		w := newWorld(t, shards)
		cfg := w.config()
		cfg.ChunkBytes = int64(rapid.SampledFrom([]int{200, 1 << 20}).Draw(rt, "chunk"))
		cfg.DirectBytes = int64(rapid.SampledFrom([]int{1, 1 << 20}).Draw(rt, "direct"))
		cfg.Positions = rapid.Bool().Draw(rt, "positions")
		d := w.run(cfg)
		var want []string
		lines := map[string]int{}
		offsets := make([]int, shards)
		for n := range rapid.IntRange(1, 12).Draw(rt, "runs") {
			shard := rapid.IntRange(0, shards-1).Draw(rt, "shard")
			file := rapid.SampledFrom([]string{"a", "a", "b", "c.csv", "c.csv", ""}).Draw(rt, "file")
			var recs []string
			for range rapid.IntRange(1, 5).Draw(rt, "records") {
				at := ""
				if cfg.Positions {
					at = fmt.Sprintf(" %d %d", shard, offsets[shard])
				}
				offsets[shard]++
				rec := fmt.Sprintf(`{"n":%d`, n)
				if rapid.IntRange(0, 9).Draw(rt, "odd") == 0 {
					rec += fmt.Sprintf(`,"c%d":1`, n)
				}
				if file == "" {
					recs = append(recs, rec+"}")
					want = append(want, fmt.Sprint(n, " <nil> <nil>", at))
					continue
				}
				lines[file]++
				recs = append(recs, fmt.Sprintf(`%s,"_line":%d}`, rec, lines[file]))
				want = append(want, fmt.Sprint(n, " ", file, " ", lines[file], at))
			}
			if file == "" {
				w.put(shard, recs...)
			} else {
				w.refer(shard, file, recs...)
			}
			switch rapid.IntRange(0, 3).Draw(rt, "then") {
			case 0:
				w.flush(d)
			case 1:
				d.stop()
				d = w.run(cfg)
			}
		}
		w.flush(d)
		query := "SELECT n, _file, _line FROM t"
		if cfg.Positions {
			query = "SELECT n, _file, _line, " + delivery.ShardColumn + ", " + delivery.OffsetColumn + " FROM t"
		}
		if lines["a"]+lines["b"]+lines["c.csv"] == 0 {
			return
		}
		if diff := cmp.Diff(sorted(want), w.rows(d, query)); diff != "" {
			rt.Fatal(diff)
		}
		d.stop()
	})
}

func sorted(s []string) []string {
	s = slices.Clone(s)
	slices.Sort(s)
	return s
}

// TestReferredLost: each of the records that a reference stands for and that are lost becomes a failed record
// which says why, however many they are; those around them are delivered.
func TestReferredLost(t *testing.T) {
	const lost = 12_000 // more than one chunk takes
	w := newWorld(t, 1)
	d := w.run(w.config())
	w.put(0, `{"a":1}`)
	if _, err := w.stream.Append(t.Context(), 0, record.Segment{Ref: []byte("gone.csv"), Lines: true, Count: lost}, ""); err != nil {
		t.Fatal(err)
	}
	w.put(0, `{"a":2}`)
	w.flush(d)
	w.want(d, "SELECT a FROM t", "1", "2")
	failed := w.failed()
	if len(failed) != lost {
		t.Fatalf("%d failed records, want %d", len(failed), lost)
	}
	for i, f := range failed {
		if f.Offset != uint64(i+1) || !strings.Contains(f.Reason, "gone.csv") || f.Stage != "decode" {
			t.Fatalf("%d: %+v", i, f)
		}
	}
	w.balance(0, lost+2, 2, lost, 0)
}

// TestLaterLost: records that are found lost only when they are converted become failed records too, and no
// others are lost or doubled with them.
func TestLaterLost(t *testing.T) {
	w := newWorld(t, 1)
	d := w.run(w.config())
	w.refer(0, "good.csv", `{"a":1,"_line":1}`)
	w.flush(d)
	w.refer(0, "good.csv", `{"a":2,"_line":2}`, `{"a":3,"_line":3}`)
	w.refer(0, "lost.csv", `{"a":4,"_line":1}`, `{"a":5,"_line":2}`)
	w.refer(0, "good.csv", `{"a":6,"_line":4}`)
	w.flush(d)
	w.want(d, "SELECT a, _file, _line FROM t", "1 good.csv 1", "2 good.csv 2", "3 good.csv 3", "6 good.csv 4")
	if failed := w.failed(); len(failed) != 2 || failed[0].Offset != 3 || failed[0].Stage != "decode" {
		t.Errorf("%+v", failed)
	}
	w.balance(0, 6, 4, 2, 0)
}

// TestLaterAsked: values that only DuckDB can judge come to the table whichever way their chunk goes.
func TestLaterAsked(t *testing.T) {
	w := newWorld(t, 1)
	d := w.run(w.config())
	w.refer(0, "f.csv", `{"ts":"2026-11-20T10:00:00Z","_line":1}`)
	w.flush(d)
	want := []string{"10 f.csv 1"}
	for i := 2; i < 6; i++ { // the first asks, the others follow at once
		w.refer(0, "f.csv", fmt.Sprintf(`{"ts":"2026-11-20 1%d:00:00","_line":%d}`, i, i))
		w.flush(d)
		want = append(want, fmt.Sprintf("1%d f.csv %d", i, i))
	}
	w.want(d, "SELECT hour(ts), _file, _line FROM t", want...)
	w.balance(0, 5, 5, 0, 0)
}

// TestReferredFailures: a record that fails is kept as it came, not as it was rewritten for the reader; when all
// of a reference do, it is not fetched once for each.
func TestReferredFailures(t *testing.T) {
	w := newWorld(t, 1)
	cfg := w.config()
	cfg.Transform = rowByRow(sqlSteps("SELECT CASE WHEN a > 0 THEN error('no') END AS x FROM records"))
	d := w.run(cfg)
	var lines []string
	for i := range 300 {
		lines = append(lines, fmt.Sprintf(`{"a":0,"a":%d,"_line":%d}`, i+1, i+1)) // the last counts
	}
	w.refer(0, "f.csv", lines...)
	w.flush(d)
	failed := w.failed()
	if len(failed) != len(lines) {
		t.Fatalf("%d failed records", len(failed))
	}
	for i, f := range failed {
		if want := strings.TrimSuffix(lines[i], "}") + `,"_file":"f.csv"}`; string(f.Record) != want {
			t.Fatalf("%s, want %s", f.Record, want)
		}
	}
	if n := w.gotten.Load(); n > 10 {
		t.Errorf("fetched %d times", n)
	}
}

// TestAgain: records of a message are read again with one fetch, and those of the next are not mixed up with them.
func TestAgain(t *testing.T) {
	w := newWorld(t, 2)
	w.refer(0, "f.csv", `{"a":1}`, `{"a":2}`)
	w.refer(0, "f.csv", `{"a":3}`)
	w.refer(1, "g.csv", `{"a":4}`)
	again := delivery.Again(delivery.Live(w.stream))
	get := func(shard, offset int, want string) {
		t.Helper()
		rec, arrival, err := again(t.Context(), tarn.Position{Shard: shard, Offset: uint64(offset)})
		if err != nil || string(rec) != want || arrival.IsZero() != (want == "") {
			t.Errorf("%s, %s, %v; want %s", rec, arrival, err, want)
		}
	}
	for range 5 {
		get(0, 0, `{"a":1,"_file":"f.csv"}`)
		get(0, 1, `{"a":2,"_file":"f.csv"}`)
	}
	if n := w.gotten.Load(); n != 1 {
		t.Errorf("fetched %d times", n)
	}
	get(0, 2, `{"a":3,"_file":"f.csv"}`)
	get(1, 0, `{"a":4,"_file":"g.csv"}`)
	get(0, 1, `{"a":2,"_file":"f.csv"}`)
	if _, _, err := again(t.Context(), tarn.Position{Offset: 7}); err == nil {
		t.Error("a record that is not there was read")
	}
}

// TestManyThreads: the lines of a large chunk, and the pieces of a file, are read once each, however many
// threads share them.
func TestManyThreads(t *testing.T) {
	w := newWorld(t, 1)
	cfg := w.config()
	cfg.ChunkBytes = 64 << 20
	var err error
	if cfg.Duck, err = duck.Open(duck.Options{MemoryBytes: 512 << 20, Threads: 4, AllowedDirs: []string{w.dir}, Unordered: true}); err != nil {
		t.Fatal(err)
	}
	defer cfg.Duck.Close()
	d := w.run(cfg)
	var lines []string
	n, sum := 0, 0
	for size := 0; size < 40<<20; {
		n++
		sum += n
		length := n % 5000
		if n%1000 == 7 {
			length = 1<<20 - 100
		}
		line := fmt.Sprintf(`{"n":%d,"s":"%s"}`, n, strings.Repeat("x", length))
		size += len(line)
		if lines = append(lines, line); len(line) > 1<<19 || len(lines) == 500 {
			w.put(0, lines...)
			lines = lines[:0]
		}
	}
	w.put(0, lines...)
	w.flush(d)
	w.want(d, "SELECT count(*), sum(n)::BIGINT, count(DISTINCT n) FROM t", fmt.Sprint(n, " ", sum, " ", n))
	for i := range 50 {
		w.refer(0, "many.csv", fmt.Sprintf(`{"n":%d,"_line":%d}`, -i, i), fmt.Sprintf(`{"n":%d,"_line":%d}`, -100-i, i))
	}
	w.flush(d)
	for i := range 50 {
		w.refer(0, "many.csv", fmt.Sprintf(`{"n":%d,"_line":%d}`, -1000-i, i), fmt.Sprintf(`{"n":%d,"_line":%d}`, -2000-i, i))
	}
	w.flush(d)
	w.want(d, "SELECT count(*), count(DISTINCT n) FROM t", fmt.Sprint(n+200, " ", n+200))
}
