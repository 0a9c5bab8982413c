package filedrop

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// The folders within the landing folder that files are moved to.
const (
	doneFolder   = "done"
	failedFolder = "failed"
)

// maxSeen is how many files of the folder are looked at (I8). Others follow when these are gone.
const maxSeen = 10_000

// quietScan is how often an empty folder is looked at whose changes are told. It finds what was not told: on
// some network filesystems only changes by this machine are.
const quietScan = 5 * time.Second

// watch takes the finished files of the landing folder until the door's life ends.
func (d *Door) watch() {
	w := watcher{d: d, seen: map[string]sighting{}, under: map[string]bool{}, ended: make(chan ending)}
	told := newEvents()
	defer told.close()
	tick := min(max(d.o.Settle/4, 50*time.Millisecond), time.Second)
	timer := time.NewTimer(tick)
	defer timer.Stop()
	for {
		wait := tick
		if time.Since(w.looked) >= lookShare*w.took {
			quiet := told.watch(d.o.Folder) // before the look, so that nothing is missed between them
			w.look()
			if quiet && len(w.seen) == 0 {
				wait = quietScan
			}
		}
		w.begin()
		timer.Reset(min(wait, w.due()))
		select {
		case <-timer.C:
		case <-told.changed:
		case e := <-w.ended:
			w.end(e)
		case <-d.life.Done():
			for len(w.under) > 0 {
				w.end(<-w.ended)
			}
			return
		}
	}
}

// watcher decides when a file of the folder is finished. Its fields belong to one goroutine.
type watcher struct {
	d       *Door
	seen    map[string]sighting
	under   map[string]bool // files being taken
	ready   []fs.FileInfo   // finished and not begun, oldest first
	ended   chan ending
	missing bool // the folder could not be read

	looked time.Time     // when the folder was last looked at
	took   time.Duration // and how long that took
}

// lookShare keeps the door from spending its time on looking at a folder of many files: one part of so
// many at most.
const lookShare = 20

// sighting is what was last seen of a file, and since when it has been so.
type sighting struct {
	info  fs.FileInfo
	since time.Time
	tries int
	after time.Time // not to be taken before
}

// ending is a file that a goroutine has dealt with.
type ending struct {
	name string
	err  error // to be tried again
}

// look looks at the folder once and finds the files that are finished.
func (w *watcher) look() {
	d := w.d
	now := d.o.Clock()
	began := time.Now()
	infos, err := w.list()
	w.looked = time.Now()
	w.took = w.looked.Sub(began)
	if err != nil {
		if !w.missing {
			d.o.Logger.Warn("the landing folder cannot be read; trying again", "folder", d.o.Folder, "error", err)
		}
		w.missing = true
		return
	}
	w.missing = false
	next := make(map[string]sighting, len(infos))
	for _, info := range infos {
		s, known := w.seen[info.Name()]
		if !known || !same(s.info, info) {
			s = sighting{info: info, since: now}
		}
		next[info.Name()] = s
	}
	w.seen, w.ready = next, nil
	for _, info := range infos {
		s := next[info.Name()]
		if now.Sub(s.since) >= d.o.Settle && !now.Before(s.after) && !w.under[info.Name()] {
			w.ready = append(w.ready, info)
		}
	}
}

// due is how long it takes at least until a file is finished that is not yet.
func (w *watcher) due() time.Duration {
	wait := quietScan
	for _, s := range w.seen {
		if left := w.d.o.Settle - w.d.o.Clock().Sub(s.since); left > 0 {
			wait = min(wait, left)
		}
	}
	return max(wait, time.Millisecond)
}

// begin begins to take finished files while there are slots. Whether one is still what was seen is looked
// at when it is taken.
func (w *watcher) begin() {
	d := w.d
	for len(w.ready) > 0 && d.o.Slots.TryAcquire(slots(w.ready[0].Size())) {
		info := w.ready[0]
		w.ready = w.ready[1:]
		w.under[info.Name()] = true
		go func() {
			err := d.drop(d.life, info)
			d.o.Slots.Release(slots(info.Size()))
			w.ended <- ending{info.Name(), err}
		}()
	}
}

// end notes what became of a file. One that has to be tried again waits longer each time.
func (w *watcher) end(e ending) {
	delete(w.under, e.name)
	s, ok := w.seen[e.name]
	if e.err == nil || w.d.life.Err() != nil {
		return
	}
	if errors.Is(e.err, errChanged) || errors.Is(e.err, fs.ErrNotExist) {
		delete(w.seen, e.name) // it has to stand still anew
		return
	}
	w.d.o.Logger.Warn("file cannot be taken yet; trying again", "file", e.name, "error", e.err)
	if ok {
		s.tries++
		s.after = w.d.o.Clock().Add(min(time.Second<<min(s.tries, 6), time.Minute))
		w.seen[e.name] = s
	}
}

// list returns the files that may be taken, oldest first.
func (w *watcher) list() ([]fs.FileInfo, error) {
	f, err := os.Open(w.d.o.Folder)
	if errors.Is(err, fs.ErrNotExist) {
		if err = os.MkdirAll(w.d.o.Folder, 0o755); err == nil {
			f, err = os.Open(w.d.o.Folder)
		}
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var infos []fs.FileInfo
	for len(infos) < maxSeen {
		entries, err := f.ReadDir(256)
		for _, e := range entries {
			if !e.Type().IsRegular() || !w.d.wanted(e.Name()) {
				continue
			}
			if info, err := e.Info(); err == nil { // else it is gone
				infos = append(infos, info)
			}
		}
		if err != nil {
			break // the end of the folder; what an error hides is seen next time
		}
	}
	slices.SortFunc(infos, func(a, b fs.FileInfo) int {
		return cmp.Or(a.ModTime().Compare(b.ModTime()), strings.Compare(a.Name(), b.Name()))
	})
	return infos, nil
}

// wanted reports whether a name is one that the door takes.
func (d *Door) wanted(name string) bool {
	if strings.HasPrefix(name, ".") {
		return false
	}
	for _, suffix := range []string{".tmp", ".part", ".crdownload"} {
		if strings.HasSuffix(strings.ToLower(name), suffix) {
			return false
		}
	}
	if d.o.Match == "" {
		return true
	}
	ok, _ := path.Match(d.o.Match, name) // Validate has checked the pattern
	return ok
}

// same reports whether two looks saw the same file unchanged.
func same(a, b fs.FileInfo) bool {
	return a.Size() == b.Size() && a.ModTime().Equal(b.ModTime()) && os.SameFile(a, b)
}

// landing is the path of a file in the landing folder.
func (d *Door) landing(name string) string { return filepath.Join(d.o.Folder, name) }
