package project_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/tarn-data/tarn/project"
)

func TestWatch(t *testing.T) {
	const atLeastOne = -1 // a look may fall between two writes
	dir := t.TempDir()
	write(t, filepath.Join(dir, "tarn.yaml"), "version: 1\n")
	tick, calls := make(chan time.Time), 0
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		done <- project.Watch(ctx, dir, project.WatchOptions{Tick: tick, Skip: []string{filepath.Join(dir, "data")}}, func() { calls++ })
	}()
	tick <- time.Time{} // the first look is over when the second begins
	settle := func() { tick <- time.Time{}; tick <- time.Time{}; tick <- time.Time{} }
	settle()
	for _, step := range []struct {
		name string
		do   func()
		want int
	}{
		{"nothing", func() {}, 0},
		{"a new pipeline", func() { write(t, filepath.Join(dir, "pipelines/a.yaml"), "pipeline: a\n") }, 1},
		{"its content", func() { write(t, filepath.Join(dir, "pipelines/a.yaml"), "pipeline: aa\n") }, 1},
		{"only its time", func() {
			if err := os.Chtimes(filepath.Join(dir, "pipelines/a.yaml"), time.Time{}, time.Unix(1, 0)); err != nil {
				t.Fatal(err)
			}
		}, 1},
		{"a file of another kind", func() { write(t, filepath.Join(dir, "notes.txt"), "x") }, 0},
		{"the code of a function", func() { write(t, filepath.Join(dir, "functions/f/app.py"), "x") }, 1},
		{"its edit", func() { write(t, filepath.Join(dir, "functions/f/app.py"), "xy") }, 1},
		{"a package of a function", func() { write(t, filepath.Join(dir, "functions/f/node_modules/a/index.js"), "x") }, 1},
		{"a file in a package", func() { write(t, filepath.Join(dir, "functions/f/node_modules/a/b.js"), "x") }, 0},
		{"what python writes", func() { write(t, filepath.Join(dir, "functions/f/__pycache__/app.pyc"), "x") }, 0},
		{"a crawler", func() { write(t, filepath.Join(dir, "crawlers/c.yaml"), "x") }, 1},
		{"a hidden folder", func() { write(t, filepath.Join(dir, ".git/x.yaml"), "x") }, 0},
		{"the data folder", func() { write(t, filepath.Join(dir, "data/x.yaml"), "x") }, 0},
		{"several files", func() {
			write(t, filepath.Join(dir, "sql/a.sql"), "SELECT 1")
			write(t, filepath.Join(dir, "sql/b.sql"), "SELECT 1")
		}, 1},
		{"a renamed file", func() {
			if err := os.Rename(filepath.Join(dir, "sql/a.sql"), filepath.Join(dir, "sql/c.sql")); err != nil {
				t.Fatal(err)
			}
		}, 1},
		{"a file that grows is reported when it has settled", func() {
			for i := range 5 {
				write(t, filepath.Join(dir, "sql/e.sql"), "SELECT 1 "+string(make([]byte, i)))
				tick <- time.Time{}
			}
		}, atLeastOne},
		{"the folder goes", func() {
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
		}, 1},
	} {
		before := calls
		step.do()
		settle()
		if got := calls - before; got != step.want && !(step.want == atLeastOne && got > 0) {
			t.Errorf("%s: %d calls, want %d", step.name, got, step.want)
		}
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Watch returned %v", err)
	}
}

func TestWatchInterval(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	called := make(chan bool, 1)
	go func() {
		time.Sleep(50 * time.Millisecond)
		_ = os.WriteFile(filepath.Join(dir, "tarn.yaml"), []byte("version: 1\n"), 0o644)
	}()
	go func() {
		_ = project.Watch(ctx, dir, project.WatchOptions{Interval: 10 * time.Millisecond}, func() { called <- true })
	}()
	select {
	case <-called:
	case <-time.After(10 * time.Second):
		t.Error("the change was not noticed")
	}
}
