package table_test

import (
	"os"
	"slices"
	"testing"
	"time"

	"github.com/tarn-data/tarn/table"
)

// A commit must cost the same after 1,000 commits as at the start, without any snapshot expiry:
// a snapshot still names few manifests.
func TestThousandCommits(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	r := newRig(t)
	st := r.ensure()
	const n = 1000
	took := make([]time.Duration, n)
	for i := range n {
		f := r.file(st, 2000)
		start := time.Now()
		next, err := r.Commit(t.Context(), name, table.Commit{Add: []table.DataFile{f}, SchemaID: st.SchemaID,
			Progress: []table.Progress{{Stream: "telemetry", From: uint64(i * 2000), Next: uint64(i*2000 + 2000), RecordsIn: 2000, RowsOut: 2000}}})
		must(t, err)
		took[i] = time.Since(start)
		if got := r.files(next); len(got) != i+1 {
			t.Fatalf("after %d commits %d files", i+1, len(got))
		}
		st = next
	}
	if st.Rows != n*2000 || st.Files != n {
		t.Errorf("%d rows in %d files", st.Rows, st.Files)
	}
	for i := 0; i < n; i += 100 {
		t.Logf("commits %d to %d: median %.2f ms", i+1, i+100, ms(median(took[i:i+100])))
	}
	first, last := sum(took[:50]), sum(took[n-50:])
	t.Logf("commit: first 50 %.2f ms each, last 50 %.2f ms, median %.2f ms, max %.2f ms; ratio %.2f",
		ms(first/50), ms(last/50), ms(median(took)), ms(slices.Max(took)), float64(last)/float64(first))
	// Times are the benchmark's to judge. What keeps them level is that a snapshot names few manifests,
	// however many commits there were: their list stays small.
	snaps := st.Snapshots()
	list, err := os.Stat(snaps[len(snaps)-1].ManifestList)
	must(t, err)
	if list.Size() > 8<<10 {
		t.Errorf("the manifest list has %d bytes", list.Size())
	}
	t.Logf("manifest list: %d bytes", list.Size())
	r.reopen()
	st, err = r.State(t.Context(), name)
	must(t, err)
	if got := rowsOf(r.files(st)); got != n*2000 {
		t.Errorf("%d rows after reopening", got)
	}
}

func sum(d []time.Duration) (s time.Duration) {
	for _, x := range d {
		s += x
	}
	return s
}

func median(d []time.Duration) time.Duration { return slices.Sorted(slices.Values(d))[len(d)/2] }

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func BenchmarkCommit(b *testing.B) {
	r := newRig(b)
	st := r.ensure()
	for b.Loop() {
		b.StopTimer()
		f := r.file(st, 2000)
		b.StartTimer()
		if _, err := r.Commit(b.Context(), name, table.Commit{Add: []table.DataFile{f}, SchemaID: st.SchemaID}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkAcquire is what every query pays to see the current state of a table of 1,000 files.
func BenchmarkAcquire(b *testing.B) {
	r := newRig(b)
	st := r.ensure()
	c := table.Commit{SchemaID: st.SchemaID}
	for range 1000 {
		c.Add = append(c.Add, r.file(st, 2000))
	}
	_, err := r.Commit(b.Context(), name, c)
	must(b, err)
	for b.Loop() {
		st, release, err := r.Acquire(b.Context(), name, nil)
		must(b, err)
		if len(r.files(st)) != 1000 {
			b.Fatal("files are missing")
		}
		release()
	}
}
