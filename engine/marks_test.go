package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tarn-data/tarn"
)

var goldenTime = moment{time.Date(2026, 11, 20, 3, 0, 0, 0, time.UTC), uptime{"5f1c2a34-7d1e-4f57-9a0b-3c2d1e0f9a8b", 86_400 * time.Second}}

var goldenMarks = map[shardID]mark{
	{"events", 0}: {next: 1000, lost: []loss{{First: 600, Next: 900, FoundAt: time.Date(2026, 11, 20, 3, 0, 0, 0, time.UTC), Tables: map[string]uint64{"curated.events": 700}}}},
	{"events", 1}: {next: 0},
	{"orders", 0}: {next: 1 << 60},
}

// TestMarksGolden: a file written by an earlier version is read, and today's is the same.
func TestMarksGolden(t *testing.T) {
	want, err := os.ReadFile("testdata/marks.json")
	if err != nil {
		t.Fatal(err)
	}
	got, err := encodeMarks(goldenMarks, goldenTime)
	if err != nil || string(got)+"\n" != string(want) {
		t.Errorf("%s %v", got, err)
	}
	bootless := bytes.Replace(want, []byte(`"boot":"5f1c2a34-7d1e-4f57-9a0b-3c2d1e0f9a8b","up":86400,`), nil, 1)
	timeless := bytes.Replace(bootless, []byte(`"time":"2026-11-20T03:00:00Z",`), nil, 1)
	for text, at := range map[string]moment{string(want): goldenTime, string(bootless): {time: goldenTime.time}, string(timeless): {}} {
		if known, got, err := decodeMarks([]byte(text)); err != nil || !reflect.DeepEqual(known, goldenMarks) || got != at {
			t.Errorf("%v %v %v", known, got, err)
		}
	}
}

// TestMarksSeeTime: the minute is noted with the time of the boot it began at, once.
func TestMarksSeeTime(t *testing.T) {
	m := &marks{}
	at := goldenTime.time.Add(20 * time.Second)
	for i := range 3 { // a clock of the boot that drifts does not rewrite the file
		m.seeTime(at.Add(time.Duration(i)*time.Second), uptime{"a", 100*time.Second + time.Duration(i)*1001*time.Millisecond})
	}
	if want := (moment{goldenTime.time, uptime{"a", 80 * time.Second}}); m.noted != want {
		t.Errorf("%v", m.noted)
	}
	m.seeTime(at, uptime{"b", 50 * time.Second})
	m.seeTime(at.Add(time.Minute), uptime{"b", 110 * time.Second})
	if want := (moment{goldenTime.time.Add(time.Minute), uptime{"b", 90 * time.Second}}); m.noted != want {
		t.Errorf("%v", m.noted)
	}
}

// TestMarksDamaged: marks that make no sense are put aside; what cannot be read at all says how to mend
// it.
func TestMarksDamaged(t *testing.T) {
	good, err := encodeMarks(goldenMarks, goldenTime)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"empty": "", "cut": string(good[:len(good)/2]), "flipped": strings.Replace(string(good), "1000", "9000", 1),
		"other version": strings.Replace(string(good), `"version":1`, `"version":7`, 1), "no marks": `{}`, "no shard": `{"events":5}`, "neither form": `{"events/0":5,"version":1}`, "null": "null",
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write := func() {
				if err := os.WriteFile(filepath.Join(dir, marksKey), []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			write()
			for range 2 {
				m, err := openMarks(t.Context(), dir, slog.New(slog.DiscardHandler))
				if err != nil {
					t.Fatal(err)
				}
				if kept, err := os.ReadFile(filepath.Join(dir, marksDamaged)); err != nil || string(kept) != text || !m.damaged(t.Context()) || len(m.known) > 0 {
					t.Errorf("%q %v %v", kept, err, m.known)
				}
				m.bucket.Close()
			}
		})
	}
	unreadable, cancel := context.WithCancel(t.Context())
	cancel()
	var e *tarn.Error
	if _, err := openMarks(unreadable, t.TempDir(), slog.New(slog.DiscardHandler)); !errors.As(err, &e) || !strings.Contains(e.Detail, marksKey) || !strings.Contains(e.Hint, "remove") {
		t.Errorf("%v", err)
	}
}

// TestMarksBeforeVersions: the file of a Tarn that gave it no version is read, once, and written anew.
func TestMarksBeforeVersions(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, marksKey)
	if err := os.WriteFile(path, []byte(`{"events/0":5,"events/12":0}`), 0o644); err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	for range 2 {
		m, err := openMarks(t.Context(), dir, slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		if want := (map[shardID]mark{{"events", 0}: {next: 5}, {"events", 12}: {}}); !reflect.DeepEqual(m.known, want) || m.damaged(t.Context()) || log.Len() > 0 {
			t.Errorf("%v, logged %s", m.known, log.String())
		}
		m.bucket.Close()
		if text, err := os.ReadFile(path); err != nil || !strings.HasPrefix(string(text), `{"version":1,`) {
			t.Errorf("%s %v", text, err)
		}
	}
}

func FuzzMarks(f *testing.F) {
	good, err := encodeMarks(goldenMarks, goldenTime)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"version":1,"sum":0,"shards":[]}`))
	f.Add([]byte(`{"events/0":5}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		known, at, err := decodeMarks(text)
		if err != nil {
			return
		}
		again, err := encodeMarks(known, at)
		if err != nil {
			t.Fatal(err)
		}
		if back, _, err := decodeMarks(again); err != nil || len(back) != len(known) {
			t.Fatalf("%s became %s: %v", text, again, err)
		}
	})
}

// TestLostTo compares runs of offsets with single ones: what a table is missing after losses found one
// after the other, each with the log's end and the table at some place.
func TestLostTo(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var k mark
		lost := map[uint64]bool{}
		for range rapid.IntRange(0, 6).Draw(t, "losses") {
			l := loss{First: rapid.Uint64Range(0, 50).Draw(t, "first"), Tables: map[string]uint64{"t": rapid.Uint64Range(0, 60).Draw(t, "table")}}
			l.Next = l.First + rapid.Uint64Range(1, 20).Draw(t, "count")
			k.lost = append(k.lost, l)
			for o := max(l.First, l.Tables["t"]); o < l.Next; o++ {
				lost[o] = true
			}
		}
		runs := k.lostTo("t")
		if n := within(runs, 0, 1000); n != uint64(len(lost)) {
			t.Fatalf("%d offsets in %v, want %d", n, runs, len(lost))
		}
		from, to := rapid.Uint64Range(0, 70).Draw(t, "from"), rapid.Uint64Range(0, 70).Draw(t, "to")
		var want uint64
		for o := range lost {
			if o >= from && o < to {
				want++
			}
		}
		if n := within(runs, from, to); n != want {
			t.Fatalf("%d of %v within %d and %d, want %d", n, runs, from, to, want)
		}
		for i := 1; i < len(runs); i++ {
			if runs[i].first <= runs[i-1].next {
				t.Fatal(fmt.Sprint("runs touch: ", runs))
			}
		}
	})
}

// BenchmarkSaveMarks is what noting the ends of 32 shards costs each second.
func BenchmarkSaveMarks(b *testing.B) {
	m, err := openMarks(b.Context(), b.TempDir(), slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	defer m.bucket.Close()
	for next := uint64(1); b.Loop(); next++ {
		for i := range 32 {
			m.see(shardID{"events", i}, next)
		}
		if err := m.save(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
