// Package examples carries the example projects inside the binary, so that tarn demo and tarn bench
// run without the source tree. It holds files only; nothing enters, an fs.FS leaves.
package examples

import (
	"embed"
	"io/fs"
)

//go:embed fleet/README.md fleet/tarn.yaml fleet/pipelines fleet/sql fleet/extracts fleet/twins fleet/reference
var files embed.FS

// Fleet returns the example project of railway wagons: all but its
// sample records.
func Fleet() (fs.FS, error) { return fs.Sub(files, "fleet") }
