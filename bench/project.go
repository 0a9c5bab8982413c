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

// writeProject writes the fleet example to dir. What is measured is what the example shows, apart from
// the buffer where a scenario needs another one.
func writeProject(dir, buffer string) error {
	fsys, err := examples.Fleet()
	if err != nil {
		return err
	}
	if err := os.CopyFS(dir, fsys); err != nil {
		return err
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
