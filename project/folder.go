package project

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/tarn-data/tarn"
)

// entries lists a folder of the project, nothing where it is not there. hint says what belongs into it.
func (l *loader) entries(dir, hint string) []fs.DirEntry {
	info, err := fs.Stat(l.fsys, dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil && strings.Contains(err.Error(), "escapes"):
		l.fileFault(dir, tarn.CodeForbidden, dir+" is a link that leads out of the project", "move the folder into the project")
		return nil
	case err == nil && !info.IsDir():
		l.fileFault(dir, tarn.CodeInvalid, dir+" is not a folder", hint)
		return nil
	}
	entries, err := fs.ReadDir(l.fsys, dir)
	if err != nil {
		l.fileFault(dir, tarn.CodeForbidden, "the folder "+dir+" may not be read", "check its permissions")
	}
	return entries
}

// yamlFiles lists the files of a folder that holds one thing of a kind in each, at most so many. Hidden
// files and those of editors are passed over.
func (l *loader) yamlFiles(dir, kind string, most int) []string {
	var names []string
	for _, e := range l.entries(dir, fmt.Sprintf("keep each %s in %s/NAME.yaml", kind, dir)) {
		name := dir + "/" + e.Name()
		switch {
		case strings.HasPrefix(e.Name(), "."):
		case e.IsDir():
			if nested, _ := fs.ReadDir(l.fsys, name); slices.ContainsFunc(nested, func(n fs.DirEntry) bool { return isYAML(n.Name()) }) {
				l.fileFault(name, tarn.CodeInvalid, dir+" in a folder of their own are not read", "move its files up into "+dir+"/")
			}
		case isYAML(e.Name()):
			names = append(names, name)
		}
	}
	if len(names) > most {
		l.fileFault(dir, tarn.CodeTooLarge, fmt.Sprintf("there are more than %d %s", most, dir), "split the project")
		names = names[:most]
	}
	return names
}

func isYAML(name string) bool {
	return !strings.HasPrefix(name, ".") && (strings.HasSuffix(name, ".yaml") || strings.HasSuffix(name, ".yml"))
}

// readAll reads files and returns those that could be decoded.
func readAll[F any](names []string, read func(name string) (F, bool)) []F {
	var files []F
	for _, name := range names {
		if f, ok := read(name); ok {
			files = append(files, f)
		}
	}
	return files
}
