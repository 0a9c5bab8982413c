package engine

import (
	"sync"

	"github.com/tarn-data/tarn/lake/fs"
)

// extractsFolder is the part of the data folder that holds what extracts keep between commits: rows on
// their way to a stream, and the records of open windows.
const extractsFolder = "extracts"

// extractStore is the objects in it.
type extractStore struct {
	mu     sync.Mutex
	bucket *fs.Bucket // opened when first needed
}

// extractState returns the objects of extracts.
func (e *Engine) extractState() (*fs.Bucket, error) {
	s := &e.extracts
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bucket != nil {
		return s.bucket, nil
	}
	var err error
	s.bucket, err = fs.Open(e.path(extractsFolder))
	return s.bucket, err
}

func (s *extractStore) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bucket == nil {
		return nil
	}
	return s.bucket.Close()
}
