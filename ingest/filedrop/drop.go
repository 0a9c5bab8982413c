package filedrop

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/tarn-data/tarn"
)

// drop takes one finished file of the landing folder. An error means that it has to be tried again.
func (d *Door) drop(ctx context.Context, info fs.FileInfo) error {
	if info.Size() == 0 {
		d.o.Logger.Info("an empty file holds no records", "file", info.Name())
		return d.move(info, doneFolder, "")
	}
	// What was a file when it was looked at may be a link or a pipe by now.
	f, err := os.OpenFile(d.landing(info.Name()), os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrPermission) {
		return d.unreadable(info)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if !d.unchanged(f, info) {
		return errChanged
	}
	copied, err := d.copyOf(ctx, f, info.Size())
	if err != nil {
		return err
	}
	defer copied.remove()
	if copied.size != info.Size() || !d.unchanged(f, info) {
		return errChanged
	}
	if copied, err = d.named(ctx, copied); err != nil {
		return err
	}
	release, err := d.claim(ctx, copied.hash)
	if err != nil {
		return err
	}
	defer release()
	t, err := d.take(ctx, arrival{spooled: copied, name: textOf(info), modified: info.ModTime(), hints: d.o.Hints})
	if err != nil {
		return err
	}
	return d.clear(info, t)
}

// textOf is the name of a file as text: names may be any bytes, and JSON and databases take UTF-8 only.
func textOf(info fs.FileInfo) string { return strings.ToValidUTF8(info.Name(), "\uFFFD") }

// unchanged reports whether the open file, and what its name now leads to, still are what was seen.
func (d *Door) unchanged(f *os.File, seen fs.FileInfo) bool {
	open, err := f.Stat()
	if err != nil || !same(open, seen) {
		return false
	}
	named, err := os.Lstat(d.landing(seen.Name()))
	return err == nil && same(named, seen)
}

// clear moves a file that was dealt with out of the landing folder.
func (d *Door) clear(info fs.FileInfo, t *taken) error {
	d.report(t, "file taken")
	switch {
	case t.state == failed:
		if err := d.explain(t, info.Name()); err != nil {
			return err
		}
		return d.move(info, failedFolder, t.hash)
	case t.outcome.Duplicate && !(t.name == textOf(info) && t.modified.Equal(info.ModTime())):
		// Of the very file that was taken, a crash kept it from being moved.
		doc := map[string]any{"file": info.Name(), "hash": t.hash, "taken_as": t.name, "taken_at": t.takenAt}
		if err := d.writeBeside(doneFolder, info.Name(), t.hash, ".duplicate.json", doc); err != nil {
			return err
		}
	}
	return d.move(info, doneFolder, t.hash)
}

// unreadable moves a file away that the process may not read.
func (d *Door) unreadable(info fs.FileInfo) error {
	fault := Fault{Code: tarn.CodeForbidden, Detail: "the file may not be read", Hint: "give the user of the server the right to read it, and move it back into the landing folder"}
	d.o.Logger.Error("file failed", "file", info.Name(), "why", fault.Detail)
	doc := errorDoc{File: info.Name(), Pipeline: d.o.Pipeline, Bytes: info.Size(), At: d.o.Clock().UTC(), Fault: fault}
	if err := d.writeBeside(failedFolder, info.Name(), "", ".error.json", doc); err != nil {
		return err
	}
	return d.move(info, failedFolder, "")
}

// errorDoc is the content of NAME.error.json.
type errorDoc struct {
	File     string    `json:"file"`
	Hash     string    `json:"hash,omitempty"`
	Pipeline string    `json:"pipeline"`
	Bytes    int64     `json:"bytes"`
	At       time.Time `json:"at"`
	Fault
	Accepted int64 `json:"accepted"` // records that are in the stream all the same
	Rejected int64 `json:"rejected"`
}

// explain writes why a file failed beside the place it is moved to.
func (d *Door) explain(t *taken, name string) error {
	o := &t.outcome
	return d.writeBeside(failedFolder, name, t.hash, ".error.json", errorDoc{File: name, Hash: t.hash, Pipeline: d.o.Pipeline, Bytes: t.size,
		At: d.o.Clock().UTC(), Fault: *o.Fault, Accepted: o.Accepted, Rejected: o.Rejected})
}

func (d *Door) writeBeside(folder, name, hash, suffix string, doc any) error {
	b, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		return err
	}
	place, err := d.place(folder, name, hash)
	if err != nil {
		return err
	}
	tmp := filepath.Join(filepath.Dir(place), "."+filepath.Base(place)+suffix+".tmp")
	if err := os.WriteFile(tmp, append(b, '\n'), 0o644); err != nil {
		return err
	}
	return os.Rename(tmp, place+suffix)
}

// beside is the path of a list beside the place where a file of the landing folder will be.
func (d *Door) beside(t *taken, suffix string) string {
	folder := doneFolder
	if t.state == failed {
		folder = failedFolder
	}
	place, _ := d.place(folder, t.name, t.hash)
	return place + suffix
}

// place is where a file goes within done/ or failed/: under its name, or with the first digits of its
// hash in it where another file has the name.
func (d *Door) place(folder, name, hash string) (string, error) {
	dir := filepath.Join(d.o.Folder, folder)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	place := filepath.Join(dir, name)
	if hash != "" && exists(place) {
		stem, ext, _ := strings.Cut(name, ".")
		if ext != "" {
			ext = "." + ext
		}
		place = filepath.Join(dir, stem+"-"+hash[:8]+ext)
	}
	return place, nil
}

// move moves the file to done/ or failed/ unless the name now leads to another file, which stays.
func (d *Door) move(info fs.FileInfo, folder, hash string) error {
	from := d.landing(info.Name())
	now, err := os.Lstat(from)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // taken away or renamed; under another name it is a duplicate
	}
	if err != nil {
		return err
	}
	if !os.SameFile(now, info) {
		return nil // replaced: a file of its own
	}
	place, err := d.place(folder, info.Name(), hash)
	if err != nil {
		return err
	}
	if !same(now, info) {
		d.o.Logger.Error("a file was written to after it was taken; what was added is not in the stream. It is moved to failed/", "file", info.Name(), "hint", "let its writer use another name until it is finished, or raise settle")
		return d.changedLate(info, hash)
	}
	return os.Rename(from, place)
}

// changedLate puts a file aside that its writer went on with after it was taken. To take it as a new
// file would take its beginning twice.
func (d *Door) changedLate(info fs.FileInfo, hash string) error {
	doc := errorDoc{File: info.Name(), Hash: hash, Pipeline: d.o.Pipeline, Bytes: info.Size(), At: d.o.Clock().UTC(),
		Fault: Fault{Code: tarn.CodeConflict, Detail: "the file was written to after it was taken; only its first bytes are in the stream", Hint: "let its writer use another name until it is finished, or raise settle"}}
	if err := d.writeBeside(failedFolder, info.Name(), hash, ".error.json", doc); err != nil {
		return err
	}
	place, err := d.place(failedFolder, info.Name(), hash)
	if err != nil {
		return err
	}
	return os.Rename(d.landing(info.Name()), place)
}
