package twin_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/metadb"
	"github.com/tarn-data/tarn/twin"
)

const crashEnv = "TARN_TWIN_CRASH_DATABASE"

// crashUpdate is the update that the record at an offset makes: the same in every process. Times go
// back and forth.
func crashUpdate(offset uint64) twin.Update {
	u := update(fmt.Sprint("c", offset*7919%97), fmt.Sprint("m", offset%5), int(offset*31%211), float64(offset))
	u.Position = twin.Position{Stream: "s", Position: tarn.Position{Offset: offset}}
	return u
}

// crashWriter reads on from its progress and applies batches until it is killed.
func crashWriter(ctx context.Context, url string) error {
	db, err := metadb.Open(ctx, url, metadb.Options{})
	if err != nil {
		return err
	}
	s := twin.Open(db, twin.Options{})
	if err := s.Configure(ctx, []twin.Spec{{Name: "fleet"}}); err != nil {
		return err
	}
	tw, err := s.Twin("fleet")
	if err != nil {
		return err
	}
	rows, err := tw.Progress(ctx, "w")
	if err != nil {
		return err
	}
	next := uint64(0)
	if len(rows) > 0 {
		next = rows[0].Next
	}
	for {
		b := twin.Batch{}
		from := next
		for range 1 + rand.IntN(300) {
			b.Updates = append(b.Updates, crashUpdate(next))
			next++
		}
		b.Progress = []twin.Progress{{Writer: "w", Stream: "s", From: from, Next: next}}
		if _, err := tw.Apply(ctx, b); err != nil {
			return err
		}
		fmt.Println(next)
	}
}

// TestCrash kills a writer again and again: what it told of is there, and the values are those of
// exactly the records before its progress (I2).
func TestCrash(t *testing.T) {
	if url := os.Getenv(crashEnv); url != "" {
		fmt.Fprintln(os.Stderr, crashWriter(context.Background(), url))
		os.Exit(1)
	}
	rounds := 8
	if testing.Short() {
		rounds = 2
	}
	url := filepath.Join(t.TempDir(), "twins.db")
	b := backend{newURL: func(testing.TB) string { return url }}
	for range rounds {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestCrash$")
		cmd.Env = append(os.Environ(), crashEnv+"="+url)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var told uint64
		lines := bufio.NewScanner(out)
		kill := time.AfterFunc(time.Duration(200+rand.IntN(300))*time.Millisecond, func() { _ = cmd.Process.Kill() })
		for lines.Scan() {
			if _, err := fmt.Sscan(lines.Text(), &told); err != nil {
				t.Fatal(err)
			}
		}
		kill.Stop()
		_ = cmd.Wait() // killed

		n := b.node(t, url, twin.Options{}, twin.Spec{})
		rows, err := n.Progress(t.Context(), "w")
		if err != nil || told > 0 && (len(rows) != 1 || rows[0].Next < told) {
			t.Fatalf("told of %d, then %+v (%v)", told, rows, err)
		}
		if len(rows) == 0 {
			continue
		}
		want := map[twin.Key]twin.Update{}
		for offset := range rows[0].Next {
			u := crashUpdate(offset)
			if have, ok := want[u.Key()]; !ok || u.At.After(have.At) || u.At.Equal(have.At) { // greater offsets come later
				want[u.Key()] = u
			}
		}
		for k, u := range want {
			if v, ok := n.number(t, k.Component, k.Metric); !ok || v != u.Value.Number() {
				t.Fatalf("behind %d records %v is %v (%v), want %v", rows[0].Next, k, v, ok, u.Value.Number())
			}
		}
		n.db.Close()
		t.Logf("%d records, told of %d", rows[0].Next, told)
	}
}
