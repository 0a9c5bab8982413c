package fs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"syscall"

	"github.com/tarn-data/tarn/lake"
)

// inKeyOrder sorts entries as their keys sort: a folder d stands for keys d/…, so it comes after
// the file d-1 and before the file d0.
func inKeyOrder(entries []fs.DirEntry) []fs.DirEntry {
	name := func(e fs.DirEntry) string {
		if e.IsDir() {
			return e.Name() + "/"
		}
		return e.Name()
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(name(a), name(b)) })
	return entries
}

func check(ctx context.Context, key string) error {
	if err := lake.CheckKey(key); err != nil {
		return err
	}
	return ctx.Err()
}

// isMissing also takes a path that runs through a file for a missing one.
func isMissing(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

func missing(key string, err error) error {
	if isMissing(err) {
		return fmt.Errorf("%s: %w", key, lake.ErrNotFound)
	}
	return fmt.Errorf("%s: %w", key, err)
}
