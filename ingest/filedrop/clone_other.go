//go:build !linux

package filedrop

import (
	"errors"
	"os"
)

// clone is for Linux.
func clone(dst, src *os.File) error { return errors.ErrUnsupported }
