package engine

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/tarn-data/tarn"
)

// lock holds a data folder for this process. The operating system lets go of it when the process
// ends, however it ends.
type lock struct{ file *os.File }

func takeLock(dir string) (*lock, error) {
	f, err := os.OpenFile(filepath.Join(dir, "LOCK"), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, &tarn.Error{Code: tarn.CodeInvalid, Detail: "the data folder " + dir + " cannot be written", Hint: "choose another with --data", Err: err}
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer f.Close()
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock %s: %w", dir, err)
		}
		holder, _ := io.ReadAll(io.LimitReader(f, 64))
		return nil, &tarn.Error{Code: tarn.CodeConflict, Detail: fmt.Sprintf("the data folder %s is in use by process %s", dir, strings.TrimSpace(string(holder))),
			Hint: "stop that process, or choose another folder with --data"}
	}
	err = f.Truncate(0)
	if err == nil {
		_, err = fmt.Fprintf(f, "%d\n", os.Getpid())
	}
	if err != nil {
		_ = f.Close()
		return nil, &tarn.Error{Code: tarn.CodeUnavailable, Detail: "the data folder " + dir + " cannot be written", Hint: "is the disk full?", Err: err}
	}
	return &lock{f}, nil
}

func (l *lock) release() {
	if l != nil {
		_ = l.file.Close() // which unlocks
	}
}
