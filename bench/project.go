package bench

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"

	"github.com/tarn-data/tarn/examples"
)

// pipeline is the one pipeline of the fleet's project, its stream, and the table it feeds.
const (
	pipeline = "telemetry"
	table    = "curated.telemetry"
)

var bufferLine = regexp.MustCompile(`buffer: \{[^}]*\}`)

// writeProject writes the pipeline of the fleet example to dir, without what reads its stream besides. What
// is measured is what the example shows, apart from the buffer where a scenario needs another one. Nobody is
// asked for a token.
func writeProject(dir, buffer string) error {
	fsys, err := examples.Fleet()
	if err != nil {
		return err
	}
	for _, name := range []string{"tarn.yaml", "pipelines/" + pipeline + ".yaml", "sql/" + pipeline + ".sql"} {
		if err := copyFile(fsys, name, dir); err != nil {
			return err
		}
	}
	if buffer == "" {
		return nil
	}
	path := filepath.Join(dir, "pipelines", pipeline+".yaml")
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if !bufferLine.Match(text) {
		return errors.New("the fleet's pipeline holds no line with a buffer")
	}
	text = bufferLine.ReplaceAllLiteral(text, []byte("buffer: "+buffer))
	return os.WriteFile(path, text, fs.FileMode(0o644))
}

// copyFile writes a file of fsys to the same place under dir.
func copyFile(fsys fs.FS, name, dir string) error {
	text, err := fs.ReadFile(fsys, name)
	if err != nil {
		return err
	}
	to := filepath.Join(dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return os.WriteFile(to, text, 0o644)
}
