package filedrop

import (
	"sync"

	"github.com/fsnotify/fsnotify"
)

// events tells when something may have changed in a folder, where the platform does. It is a hint: what
// counts is what is seen in the folder.
type events struct {
	changed chan struct{} // has room for one

	watcher *fsnotify.Watcher // nil where there is none
	done    sync.WaitGroup
}

func newEvents() *events {
	e := &events{changed: make(chan struct{}, 1)}
	var err error
	if e.watcher, err = fsnotify.NewWatcher(); err != nil { // none on this platform, or the user has no more
		e.watcher = nil
		return e
	}
	e.done.Go(func() {
		for {
			select {
			case _, ok := <-e.watcher.Events:
				if !ok {
					return
				}
			case _, ok := <-e.watcher.Errors: // events were lost, perhaps
				if !ok {
					return
				}
			}
			select {
			case e.changed <- struct{}{}:
			default:
			}
		}
	})
	return e
}

// watch reports whether changes of the folder are told from now on. A folder that was made anew has to be
// watched anew.
func (e *events) watch(folder string) bool { return e.watcher != nil && e.watcher.Add(folder) == nil }

func (e *events) close() {
	if e.watcher != nil {
		_ = e.watcher.Close()
		e.done.Wait()
	}
}
