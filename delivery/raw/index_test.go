package raw

import (
	"bytes"
	"encoding/hex"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/klauspost/compress/zstd"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// sample is an index with everything in it.
func sample() (*index, []group) {
	groups := []group{
		{2, 1_795_000_000_000_000, "", nil},
		{1, 1_794_999_999_000_000, "wagon-17", nil},
		{3, 1_795_000_000_000_001, "wagon-17", []string{"curated.a", ""}},
		{1, 1_795_000_000_000_002, "", []string{}},
		{1, 1_795_000_000_000_002, "", nil},
	}
	x := &index{shard: 3, first: 1 << 40, records: 8, form: Frames, frames: []frame{{bytes: 1000, raw: 1 << 20, records: 7}, {bytes: 10, raw: 20, records: 1}}}
	var before group
	for _, g := range groups {
		x.groups.left++
		x.groups.content = appendGroup(x.groups.content, before, g)
		before = g
	}
	return x, groups
}

func codecs(t testing.TB) (*zstd.Encoder, *zstd.Decoder) {
	enc, err := newEncoder()
	if err != nil {
		t.Fatal(err)
	}
	dec, err := newDecoder()
	if err != nil {
		t.Fatal(err)
	}
	return enc, dec
}

// TestIndexGolden: objects that were written by version 1 are read for ever.
func TestIndexGolden(t *testing.T) {
	enc, dec := codecs(t)
	x, groups := sample()
	file := filepath.Join("testdata", "index_v1.hex")
	if *update {
		if err := os.WriteFile(file, []byte(hex.EncodeToString(appendIndex(nil, x, enc))+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	golden, err := hex.DecodeString(string(bytes.TrimSpace(text)))
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{"golden": golden, "now": appendIndex(nil, x, enc)} {
		got, err := decodeIndex(b, dec)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got.shard != x.shard || got.first != x.first || got.records != x.records || got.form != x.form || len(got.frames) != 2 || got.frames[1].at != 1000 {
			t.Errorf("%s: %+v", name, got)
		}
		for i, want := range groups {
			g, ok := got.groups.next()
			if !ok || g.records != want.records || g.arrival != want.arrival || g.key != want.key || !sameRoutes(g.routes, want.routes) {
				t.Errorf("%s: group %d is %+v, want %+v", name, i, g, want)
			}
		}
		if _, ok := got.groups.next(); ok {
			t.Errorf("%s: too many groups", name)
		}
	}
}

func FuzzIndex(f *testing.F) {
	enc, dec := codecs(f)
	x, _ := sample()
	b := appendIndex(nil, x, enc)
	f.Add(b, false)
	content, _ := dec.DecodeAll(b[indexHead:len(b)-indexFoot], make([]byte, 0, 1<<10))
	f.Add(content, true)
	f.Add([]byte{}, true)
	f.Fuzz(func(t *testing.T, b []byte, bare bool) {
		read := decodeIndex
		if bare { // behind the checksum, which the fuzzer would never guess
			read = func(b []byte, _ *zstd.Decoder) (*index, error) { return parseIndex(b) }
		}
		x, err := read(b, dec)
		if err != nil {
			return
		}
		var groups []group
		var records uint64
		for all := x.groups; ; {
			g, ok := all.next()
			if !ok {
				break
			}
			groups = append(groups, g)
			records += g.records
		}
		if records != x.records {
			t.Fatalf("%d records in groups, the index says %d", records, x.records)
		}
		// What was read means the same when it is written again.
		again := *x
		again.groups = groupsOf(groups)
		y, err := decodeIndex(appendIndex(nil, &again, enc), dec)
		if err != nil || !slices.Equal(x.frames, y.frames) || x.records != y.records || x.first != y.first || x.form != y.form {
			t.Fatalf("%+v became %+v, %v", x, y, err)
		}
	})
}

func groupsOf(list []group) groups {
	var g groups
	var before group
	for _, one := range list {
		g.left++
		g.content = appendGroup(g.content, before, one)
		before = one
	}
	return g
}

func TestKeys(t *testing.T) {
	good := "raw/events/year=2026/month=11/day=20/hour=11/0001-00000000000000000005-00000000000000000009.frames.zst"
	o, ok := parseKey("events", good)
	if !ok || o.Shard != 1 || o.First != 5 || o.Next != 10 || o.Form != Frames {
		t.Errorf("%+v %t", o, ok)
	}
	for _, bad := range []string{"", "raw/events/x.frames.zst", "raw/other" + good[10:], good + "x", good[:len(good)-10] + "ndjson.zs",
		"raw/events/year=2026/month=11/day=20/hour=24/0001-00000000000000000005-00000000000000000009.frames.zst",
		"raw/events/year=2026/month=11/day=20/hour=11/1-5-9.frames.zst"} {
		if _, ok := parseKey("events", bad); ok {
			t.Errorf("%s is taken for an object", bad)
		}
	}
}
