package raw_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/delivery/raw"
	"github.com/tarn-data/tarn/lake"
	"github.com/tarn-data/tarn/record"
	"github.com/tarn-data/tarn/stream"
)

func TestBytesComeBack(t *testing.T) {
	w := newWorld(t, stream.Config{Shards: 2})
	r := start(w.config())
	defer r.stop()
	var want []kept
	for i, rec := range hostile {
		want = append(want, w.put(t, i%2, segment(record.JSON, noon.Add(time.Duration(i)*time.Second), fmt.Sprintf("key %d\n", i/3), rec))...)
	}
	want = append(want, w.put(t, 0, segment(record.JSON, noon, "", hostile[0], hostile[1], hostile[5]))...)
	routed := segment(record.JSON, noon, "", hostile...)
	routed.Routes = []string{"curated.a", ""}
	want = append(want, w.put(t, 1, routed)...)
	routed.Routes = []string{}
	want = append(want, w.put(t, 1, routed)...)
	for _, rec := range []string{"\x00\xff\n\r\n", "", "plain text\n", strings.Repeat("\n", 3<<20)} {
		want = append(want, w.put(t, 1, segment(record.Opaque, noon, "bytes", rec))...)
	}
	flush(t, r)
	got, err := read(w.archive(), raw.Select{})
	if err != nil {
		t.Fatal(err)
	}
	same(t, got, want)
	whole(t, w.archive())
	for _, o := range objects(t, w.archive()) {
		plain(t, w.bucket, o, got)
	}
}

// plain checks that ordinary tools give the records and nothing else.
func plain(t *testing.T, bucket lake.Bucket, o raw.Object, all []kept) {
	t.Helper()
	var want []byte
	for _, k := range all {
		if k.at.Shard == o.Shard && k.at.Offset >= o.First && k.at.Offset < o.Next {
			want = record.AppendRecord(want, []byte(k.bytes), o.Form == raw.NDJSON)
		}
	}
	comp := must(lake.ReadAll(t.Context(), bucket, o.Key))
	dec := must(zstd.NewReader(bytes.NewReader(comp)))
	defer dec.Close()
	if got, err := io.ReadAll(dec); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s decompresses to %d bytes, want %d: %v", o.Key, len(got), len(want), err)
	}
	if _, err := exec.LookPath("zstd"); err == nil {
		cmd := exec.Command("zstd", "-dc", bucket.URL(o.Key))
		if got, err := cmd.Output(); err != nil || !bytes.Equal(got, want) {
			t.Errorf("zstd -d %s gives %d bytes, want %d: %v", o.Key, len(got), len(want), err)
		}
	}
}

// TestObjects: what begins an object, and what it is called.
func TestObjects(t *testing.T) {
	line, pretty := `{"a":1}`, "{\n}"
	big := strings.Repeat(" ", 1<<20)
	type put struct {
		after time.Duration
		recs  []string
	}
	for name, c := range map[string]struct {
		puts []put
		keys []string
	}{
		"one": {[]put{{0, []string{line, line}}, {time.Second, []string{line}}},
			[]string{"hour=11/0000-00000000000000000000-00000000000000000002.ndjson.zst"}},
		"a later hour begins another": {[]put{{0, []string{line}}, {2 * time.Minute, []string{line}}, {0, []string{line}}},
			[]string{"hour=11/0000-00000000000000000000-00000000000000000000.ndjson.zst", "hour=12/0000-00000000000000000001-00000000000000000002.ndjson.zst"}},
		"mixed records": {[]put{{0, []string{line}}, {0, []string{pretty}}, {0, []string{line}}},
			[]string{"hour=11/0000-00000000000000000000-00000000000000000000.ndjson.zst", "hour=11/0000-00000000000000000001-00000000000000000002.frames.zst"}},
		"lines again after many others": {[]put{{0, []string{pretty, big, big, big, big}}, {0, []string{line}}},
			[]string{"hour=11/0000-00000000000000000000-00000000000000000004.frames.zst", "hour=11/0000-00000000000000000005-00000000000000000005.ndjson.zst"}},
		"full": {[]put{{0, []string{line + big + big}}, {0, []string{line + big + big}}, {0, []string{line}}},
			[]string{"hour=11/0000-00000000000000000000-00000000000000000001.ndjson.zst", "hour=11/0000-00000000000000000002-00000000000000000002.ndjson.zst"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, stream.Config{})
			for _, p := range c.puts {
				w.put(t, 0, segment(record.JSON, noon.Add(p.after), "", p.recs...))
			}
			cfg := w.config()
			cfg.FlushBytes = 4 << 20
			r := start(cfg)
			defer r.stop()
			flush(t, r)
			var keys []string
			for _, o := range objects(t, w.archive()) {
				keys = append(keys, strings.TrimPrefix(o.Key, "raw/events/year=2026/month=11/day=20/"))
			}
			if !slices.Equal(keys, c.keys) {
				t.Errorf("objects\n%s\nwant\n%s", strings.Join(keys, "\n"), strings.Join(c.keys, "\n"))
			}
			whole(t, w.archive())
		})
	}
}

func TestSelect(t *testing.T) {
	w := newWorld(t, stream.Config{Shards: 2})
	r := start(w.config())
	defer r.stop()
	var all []kept
	for i := range 30 {
		var recs []string
		for j := range 50 {
			recs = append(recs, fmt.Sprintf(`{"i":%d,"j":%d,"pad":%q}`, i, j, strings.Repeat("x", 2000)))
		}
		all = append(all, w.put(t, i%2, segment(record.JSON, noon.Add(time.Duration(i)*time.Minute), "", recs...))...)
		if i%4 == 3 {
			flush(t, r)
		}
	}
	flush(t, r)
	at := func(m int) time.Time { return noon.Add(time.Duration(m) * time.Minute) }
	for name, c := range map[string]struct {
		s    raw.Select
		want func(kept) bool
	}{
		"all":     {raw.Select{}, func(kept) bool { return true }},
		"shard":   {raw.Select{Shards: []int{1}}, func(k kept) bool { return k.at.Shard == 1 }},
		"offsets": {raw.Select{From: 120, To: 455}, func(k kept) bool { return k.at.Offset >= 120 && k.at.Offset < 455 }},
		"times": {raw.Select{Since: at(5), Until: at(22)},
			func(k kept) bool { return !k.arrival.Before(at(5)) && k.arrival.Before(at(22)) }},
		"both":  {raw.Select{From: 51, Since: at(3)}, func(k kept) bool { return k.at.Offset >= 51 && !k.arrival.Before(at(3)) }},
		"none":  {raw.Select{From: 10_000}, func(kept) bool { return false }},
		"other": {raw.Select{Shards: []int{7}}, func(kept) bool { return false }},
	} {
		t.Run(name, func(t *testing.T) {
			var want []kept
			for _, k := range all {
				if c.want(k) {
					want = append(want, k)
				}
			}
			got, err := read(w.archive(), c.s)
			if err != nil {
				t.Fatal(err)
			}
			same(t, got, want)
		})
	}
}

// TestDamage: whatever byte of an object is changed, reading yields nothing false, and names the
// object if it can not yield everything.
func TestDamage(t *testing.T) {
	w := newWorld(t, stream.Config{})
	r := start(w.config())
	defer r.stop()
	var all []kept
	for i := range 20 {
		all = append(all, w.put(t, 0, segment(record.JSON, noon, fmt.Sprint(i), fmt.Sprintf(`{"i":%d}`, i)))...)
	}
	flush(t, r)
	o := objects(t, w.archive())[0]
	path := w.bucket.URL(o.Key)
	good := must(os.ReadFile(path))
	check := func(what string, b []byte) {
		t.Helper()
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
		got, err := read(w.archive(), raw.Select{})
		if err == nil && len(b) == len(good) { // a bit that means nothing, of a window's size for example
			same(t, got, all)
			return
		}
		var e *tarn.Error
		if err == nil || !errors.As(err, &e) || !strings.Contains(e.Detail, o.Key) || strings.Contains(e.Detail, w.dir) {
			t.Fatalf("%s: error %v", what, err)
		}
		for i, k := range got {
			if k != all[i] {
				t.Fatalf("%s: record %d is %+v", what, i, k)
			}
		}
		_, problems, err := w.archive().Verify(t.Context(), func(raw.Object) {})
		if err != nil || len(problems) != 1 || problems[0].Subject != o.Key {
			t.Fatalf("%s: verify says %+v, %v", what, problems, err)
		}
	}
	for i := range good {
		b := bytes.Clone(good)
		b[i] ^= 0x40
		check(fmt.Sprintf("byte %d of %d", i, len(b)), b)
	}
	check("short", good[:len(good)-1])
	check("long", append(bytes.Clone(good), 0))
	check("empty", nil)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := read(w.archive(), raw.Select{}); err == nil || !strings.Contains(err.Error(), o.Key) {
		t.Errorf("a missing object: %v", err)
	}
}
