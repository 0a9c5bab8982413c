// Package examples carries the example projects inside the binary, so that tarn demo and tarn bench
// run without the source tree. It holds files only; nothing enters, an fs.FS leaves.
package examples

import (
	"embed"
	"io/fs"
)

//go:embed fleet
var files embed.FS

// Fleet returns the example project of railway wagons: tarn.yaml, pipelines and sql.
func Fleet() (fs.FS, error) { return fs.Sub(files, "fleet") }
