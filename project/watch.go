package project

import (
	"context"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// WatchOptions sets how Watch looks. The zero value is valid.
type WatchOptions struct {
	Interval time.Duration    // between looks; 1 s when zero
	Skip     []string         // folders not to look into, such as the data folder; hidden ones never are
	Tick     <-chan time.Time // replaces the clock: one look for each value
}

const maxWatched = 10_000 // files; further ones are not noticed (I8)

// Watch calls changed after files of the project in dir were written, created, removed or renamed,
// until ctx ends, and returns ctx's error. It compares the sizes and times of every .yaml, .yml
// and .sql file and of the code of functions, and waits until two looks agree, so that one save, or a checkout of many
// files, is one call. changed runs on Watch's goroutine: no call overlaps another, and changes
// made during one are seen after it.
func Watch(ctx context.Context, dir string, opts WatchOptions, changed func()) error {
	tick := opts.Tick
	if tick == nil {
		interval := opts.Interval
		if interval <= 0 {
			interval = time.Second
		}
		t := time.NewTicker(interval)
		defer t.Stop()
		tick = t.C
	}
	now := look(dir, opts.Skip)
	w := watcher{known: now, last: now}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick:
		}
		if w.see(look(dir, opts.Skip)) {
			changed()
		}
	}
}

// watcher decides when a change is worth a call.
type watcher struct {
	known map[string]stamp // at the last call
	last  map[string]stamp // at the last look
}

// see takes one look and reports whether the files have changed since the last call and stood
// still since the last look.
func (w *watcher) see(now map[string]stamp) bool {
	settled := maps.Equal(now, w.last)
	w.last = now
	if !settled || maps.Equal(now, w.known) {
		return false
	}
	w.known = now
	return true
}

// stamp is what Watch knows of a file.
type stamp struct {
	size  int64
	mtime int64 // ns
	mode  fs.FileMode
}

// look returns the stamps of the project's files. A file that cannot be seen is not there.
func look(dir string, skip []string) map[string]stamp {
	skipped := map[string]bool{}
	for _, s := range skip {
		if abs, err := filepath.Abs(s); err == nil {
			skipped[abs] = true
		}
	}
	functions := filepath.Join(dir, functionsDir) + string(filepath.Separator)
	out := map[string]stamp{}
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		isCode, follow := strings.HasPrefix(path, functions), false
		switch {
		case err != nil:
			return nil
		case len(out) >= maxWatched:
			return filepath.SkipAll
		case d.IsDir():
			abs, err := filepath.Abs(path)
			hidden := path != dir && (strings.HasPrefix(d.Name(), ".") || err != nil || skipped[abs])
			follow = isCode && isPackages(d.Name()) && !hidden
			if !follow && (hidden || isCode && !isCodeFolder(d.Name())) {
				return filepath.SkipDir
			}
		default:
			follow = isYAML(d.Name()) || strings.HasSuffix(d.Name(), ".sql") || isCode && isCodeFile(d.Name())
		}
		if !follow {
			return nil
		}
		if info, err := os.Stat(path); err == nil { // through links, as Load reads them
			out[path] = stamp{info.Size(), info.ModTime().UnixNano(), info.Mode()}
		}
		if d.IsDir() {
			return filepath.SkipDir
		}
		return nil
	})
	return out
}

// isPackages reports whether a folder holds installed packages. Its own time tells that one came or
// went; there are too many files in it to look at each.
func isPackages(name string) bool { return name == "node_modules" || name == "site-packages" }
