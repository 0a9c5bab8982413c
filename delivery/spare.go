package delivery

import (
	"os"
	"sync"
)

// spares are files of chunks that were converted, for chunks to come: to write over pages that are in memory
// costs half of what new ones do. They are kept while there is work, see gatherer.run. It is safe for
// concurrent use.
type spares struct {
	mu    sync.Mutex
	paths []string
}

// maxSpares is how many a worker keeps: one is filled while another is converted.
const maxSpares = 2

// put takes the file of a chunk that nobody needs any more.
func (s *spares) put(c *chunk) {
	_ = c.file.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.paths) == maxSpares {
		_ = os.Remove(c.path)
		return
	}
	s.paths = append(s.paths, c.path)
}

// open returns an empty file at the path, or a spare one moved there, which holds what it held.
func (s *spares) open(path string) (*os.File, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for n := len(s.paths); n > 0; n-- {
		spare := s.paths[n-1]
		s.paths = s.paths[:n-1]
		if os.Rename(spare, path) == nil { // else somebody needed it after all
			return os.OpenFile(path, os.O_RDWR, 0o666)
		}
	}
	return os.Create(path)
}

// drop removes the files.
func (s *spares) drop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, path := range s.paths {
		_ = os.Remove(path)
	}
	s.paths = nil
}
