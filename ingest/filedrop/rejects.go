package filedrop

import (
	"bufio"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
)

// maxListed is how many rejected records are listed beside a file. More are counted.
const maxListed = 10_000

// rejectList writes the rejected records of a file to a list that keep gives its name. It makes the list
// with the first of them. A list without a path lists nothing.
type rejectList struct {
	path  string // of the list while it is written
	file  *os.File
	w     *bufio.Writer
	count int
}

func (l *rejectList) add(bad []RejectedRecord) error {
	if l.path == "" || len(bad) == 0 || l.count >= maxListed {
		return nil
	}
	if l.file == nil {
		if err := os.MkdirAll(filepath.Dir(l.path), 0o755); err != nil {
			return err
		}
		f, err := os.Create(l.path)
		if err != nil {
			return err
		}
		l.file, l.w = f, bufio.NewWriter(f)
	}
	enc := json.NewEncoder(l.w)
	enc.SetEscapeHTML(false)
	for _, r := range bad[:min(len(bad), maxListed-l.count)] {
		if err := enc.Encode(r); err != nil {
			return err
		}
		l.count++
	}
	return nil
}

// keep closes the list and renames it, if there is one.
func (l *rejectList) keep(as string) error {
	if l.file == nil {
		return nil
	}
	err := errors.Join(l.w.Flush(), l.file.Close())
	l.file = nil
	if err != nil {
		return err
	}
	return os.Rename(l.path, as)
}

// drop removes a list that was not kept.
func (l *rejectList) drop() {
	if l.file != nil {
		_ = l.file.Close()
		_ = os.Remove(l.path)
		l.file = nil
	}
}
