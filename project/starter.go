package project

import (
	"embed"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/tarn-data/tarn"
	v1 "github.com/tarn-data/tarn/project/v1"
)

//go:embed starter
var starter embed.FS

// Init writes a small commented project into dir, creating the folder where it is not there:
// tarn.yaml, pipelines/events.yaml and sql/events.sql. It overwrites nothing: where one of them
// exists it fails with tarn.CodeConflict and leaves no file behind. name is the name of the
// project; empty takes that of the folder. It returns the files written, relative to dir.
func Init(dir, name string) ([]string, error) {
	if name == "" {
		abs, err := filepath.Abs(dir)
		if err != nil {
			return nil, err
		}
		name = nameFrom(filepath.Base(abs))
	}
	var checked v1.Name
	if err := checked.UnmarshalText([]byte(name)); err != nil {
		return nil, err
	}
	sub, err := fs.Sub(starter, "starter")
	if err != nil {
		return nil, err
	}
	var names []string
	err = fs.WalkDir(sub, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		names = append(names, path)
		if _, err := os.Lstat(filepath.Join(dir, path)); !errors.Is(err, fs.ErrNotExist) {
			return exists(path)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for i, path := range names {
		text, err := fs.ReadFile(sub, path)
		if err == nil {
			err = writeNew(filepath.Join(dir, path), strings.ReplaceAll(string(text), "PROJECT_NAME", name))
		}
		if err != nil {
			for _, written := range names[:i] {
				_ = os.Remove(filepath.Join(dir, written)) // created here a moment ago
			}
			if errors.Is(err, fs.ErrExist) {
				err = exists(path)
			}
			return nil, err
		}
	}
	return names, nil
}

func exists(path string) error {
	return &tarn.Error{Code: tarn.CodeConflict, Detail: path + " exists already", Hint: "choose another folder; nothing was written"}
}

func writeNew(name, text string) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

// nameFrom makes a name of a folder's.
func nameFrom(folder string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(folder) {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9' && b.Len() > 0:
			b.WriteRune(r)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "_"):
			b.WriteByte('_')
		}
	}
	name := strings.Trim(b.String(), "_")
	if len(name) > 63 {
		name = strings.TrimRight(name[:63], "_")
	}
	if name == "" {
		return "lake"
	}
	return name
}
