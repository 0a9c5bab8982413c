package catalog

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tarn-data/tarn"
)

// found is a file of the crawled folder.
type found struct {
	path  string // relative to the folder, with slashes
	size  int64
	mtime int64 // nanoseconds since 1970
}

// listing is what a walk has found.
type listing struct {
	root    string // absolute folder the paths are relative to
	single  bool   // one file was asked for
	files   []found
	skipped []SkippedFile
	hidden  int
}

// The bounds of one walk (I8).
const (
	maxFiles = 200_000
	maxDepth = 64
)

// walk lists the files at the crawler's path. It follows no link to a folder, and one to a file only
// inside the folder.
func (c *crawl) walk(ctx context.Context) error {
	info, err := os.Stat(c.spec.Path)
	if err != nil {
		e := &tarn.Error{Code: tarn.CodeNotFound, Detail: "the path " + c.spec.Path + " cannot be read", Hint: "nothing has been changed; is a disk not mounted?", Err: err}
		switch {
		case errors.Is(err, fs.ErrPermission):
			e.Code, e.Hint = tarn.CodeForbidden, "nothing has been changed; give the user that crawls the right to read it"
		case errors.Is(err, fs.ErrNotExist):
			e.Detail, e.Hint = "there is no folder or file "+c.spec.Path, "nothing has been changed; name a folder, or a crawler of the project; is a disk not mounted?"
		}
		return e
	}
	c.list.root = c.spec.Path
	one := ""
	if !info.IsDir() {
		c.list.root, one = filepath.Split(c.spec.Path)
		c.list.root = filepath.Clean(c.list.root)
	}
	// Links are followed once here; what is registered is where the files are.
	if c.list.root, err = filepath.EvalSymlinks(c.list.root); err != nil {
		return &tarn.Error{Code: tarn.CodeNotFound, Detail: "the path " + c.spec.Path + " cannot be read", Err: err}
	}
	c.list.single, c.own = one != "", c.cat.own()
	if err := c.cat.crawlable(c.list.root); err != nil {
		return err
	}
	if c.root, err = os.OpenRoot(c.list.root); err != nil {
		return &tarn.Error{Code: tarn.CodeForbidden, Detail: "the folder " + c.list.root + " cannot be opened", Hint: "check its permissions", Err: err}
	}
	if one != "" {
		e, err := c.root.Lstat(one)
		if err != nil {
			return err
		}
		return c.file(one, fs.FileInfoToDirEntry(e))
	}
	if err := c.folder(ctx, ".", 0); err != nil {
		return err
	}
	slices.SortFunc(c.list.files, func(a, b found) int { return strings.Compare(a.path, b.path) })
	return nil
}

// folder lists one folder and those under it.
func (c *crawl) folder(ctx context.Context, dir string, depth int) error {
	if err := ctx.Err(); err != nil {
		return &tarn.Error{Code: tarn.CodeCanceled, Detail: "the crawl was cancelled", Err: err}
	}
	if depth > maxDepth {
		c.skip(dir, Unsupported, fmt.Sprintf("folders nest deeper than %d", maxDepth))
		return nil
	}
	if dir != "." && slices.Contains(c.own, c.full(dir)) {
		c.list.hidden++
		return nil
	}
	entries, err := fs.ReadDir(c.root.FS(), dir)
	if err != nil {
		if dir == "." {
			return &tarn.Error{Code: tarn.CodeForbidden, Detail: "the folder " + c.list.root + " cannot be read", Hint: "check its permissions", Err: err}
		}
		c.skip(dir, Unreadable, "the folder cannot be read")
		c.unseen = append(c.unseen, dir+"/")
		return nil
	}
	if kind := c.foreign(dir, entries); kind != "" {
		c.skip(dir, Foreign, "the folder is a "+kind+" table: its files alone are not its data")
		return nil
	}
	for _, e := range entries {
		name := path.Join(dir, e.Name())
		switch {
		case isHidden(e.Name(), e.IsDir()):
			c.list.hidden++
		case !utf8.ValidString(e.Name()) || strings.ContainsAny(e.Name(), "\x00"):
			c.skip(strings.ToValidUTF8(name, "\uFFFD"), Unreadable, "its name is not UTF-8")
		case e.IsDir():
			if err := c.folder(ctx, name, depth+1); err != nil {
				return err
			}
		default:
			if err := c.file(name, e); err != nil {
				return err
			}
		}
	}
	return nil
}

// file takes one entry that is not a folder.
func (c *crawl) file(name string, e fs.DirEntry) error {
	info, err := e.Info()
	if err == nil && info.Mode()&fs.ModeSymlink != 0 {
		info, err = c.root.Stat(name) // refuses what leads out
		if err != nil || info.IsDir() {
			c.skip(name, Link, "it is a link to a folder or out of the crawled one")
			return nil
		}
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil // gone since the folder was read
	case err != nil:
		c.skip(name, Unreadable, "the operating system does not let it be looked at")
		return nil
	case !info.Mode().IsRegular():
		c.skip(name, Special, "it is not a regular file")
		return nil
	case info.Size() == 0:
		c.skip(name, Empty, "it is empty")
		return nil
	case isUnfinished(e.Name()):
		c.skip(name, Unfinished, "its name says that it is still being written")
		return nil
	}
	if age := c.now.Sub(info.ModTime()); c.spec.Settle > 0 && age < c.spec.Settle && age > -time.Minute {
		c.settling[name] = true
		c.skip(name, Settling, fmt.Sprintf("it changed %s ago, less than %s", age.Round(time.Millisecond), c.spec.Settle))
		return nil
	}
	if len(c.list.files) >= maxFiles {
		return &tarn.Error{Code: tarn.CodeTooLarge, Detail: fmt.Sprintf("%s holds more than %d files", c.list.root, maxFiles),
			Hint: "crawl its folders one by one, or load the data into a table"}
	}
	c.list.files = append(c.list.files, found{path: name, size: info.Size(), mtime: info.ModTime().UnixNano()})
	return nil
}

func (c *crawl) skip(name string, reason Reason, detail string) {
	c.list.skipped = append(c.list.skipped, SkippedFile{Path: name, Reason: reason, Detail: detail})
}

// isHidden follows Hadoop: names that begin with . or _ are not data. A folder _x=1 is a partition.
func isHidden(name string, dir bool) bool {
	if strings.HasPrefix(name, ".") {
		return true
	}
	return strings.HasPrefix(name, "_") && !(dir && strings.Contains(name, "=")) || !dir && strings.HasSuffix(name, ".crc")
}

// isUnfinished knows the names that writers and downloads use until they are done.
func isUnfinished(name string) bool {
	for _, end := range []string{".tmp", ".temp", ".part", ".partial", ".crdownload", ".inprogress", ".filepart", ".writing", "~"} {
		if strings.HasSuffix(strings.ToLower(name), end) {
			return true
		}
	}
	return false
}

// foreign names the table format that a folder belongs to, "" for none.
func (c *crawl) foreign(dir string, entries []fs.DirEntry) string {
	for _, e := range entries {
		switch {
		case e.IsDir() && e.Name() == "_delta_log":
			return "Delta Lake"
		case e.IsDir() && e.Name() == ".hoodie":
			return "Hudi"
		case e.IsDir() && e.Name() == "metadata":
			inside, err := fs.ReadDir(c.root.FS(), path.Join(dir, e.Name()))
			if err == nil && slices.ContainsFunc(inside, func(m fs.DirEntry) bool { return strings.HasSuffix(m.Name(), ".metadata.json") }) {
				return "Iceberg"
			}
		}
	}
	return ""
}
