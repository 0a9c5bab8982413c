package table

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/metadb"
)

// The operations of snapshots, named as the Iceberg specification does.
const (
	opAppend    = "append"
	opReplace   = "replace" // other files, same rows
	opOverwrite = "overwrite"
	opDelete    = "delete"
)

// Commit makes one atomic change and returns the new state: the files, the progress, the failed
// records and the documents are committed together or not at all (I2). Without files it adds no
// snapshot. It is built anew on fresh metadata when other writers were first.
//
// A commit is not idempotent by itself: what keeps a repeated one out is Progress.From, Resolve,
// Expect or Remove. CodeConflict says that one of them, or ExpectSnapshot, no longer holds, or that Add was
// written with a schema that has been replaced; the caller reads the state and progress again.
// CodeUnavailable says that the outcome is open or that nothing was committed; reading the progress
// tells which.
func (s *Store) Commit(ctx context.Context, name string, c Commit) (*State, error) {
	op := opAppend
	switch {
	case len(c.Remove) > 0 && len(c.Add) > 0:
		op = opOverwrite
	case len(c.Remove) > 0:
		op = opDelete
	}
	return s.commit(ctx, name, op, c)
}

func (s *Store) commit(ctx context.Context, name, op string, c Commit) (*State, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	return s.change(ctx, name, func(ctx context.Context, cur *State) (*draft, error) {
		if c.ExpectSnapshot != 0 && c.ExpectSnapshot != cur.SnapshotID {
			return nil, &tarn.Error{Code: tarn.CodeConflict, Detail: fmt.Sprintf("table %s is at snapshot %d, not %d", name, cur.SnapshotID, c.ExpectSnapshot)}
		}
		d := &draft{}
		if len(c.Add)+len(c.Remove) > 0 {
			var err error
			if d, err = s.draftFiles(ctx, cur, op, c); err != nil {
				return nil, err
			}
		}
		d.also = func(ctx context.Context, tx *metadb.Tx) error { return s.record(ctx, tx, name, c) }
		return d, nil
	})
}

func (c Commit) validate() error {
	invalid := func(format string, args ...any) error {
		return &tarn.Error{Code: tarn.CodeInvalid, Detail: "commit: " + fmt.Sprintf(format, args...)}
	}
	if len(c.Add) > 0 && c.SchemaID == 0 {
		return invalid("SchemaID of the added files is missing")
	}
	for _, p := range c.Progress {
		if p.Stream == "" || p.Shard < 0 || p.Next < p.From {
			return invalid("progress of %q shard %d from %d to %d", p.Stream, p.Shard, p.From, p.Next)
		}
	}
	seen := map[string]bool{}
	for _, f := range slices.Concat(c.Add, c.Remove) {
		if f.Rows < 0 || f.Bytes < 0 || seen[f.Path] {
			return invalid("the file %s stands twice or has a negative size", f.Path)
		}
		seen[f.Path] = true
	}
	return nil
}

// draftFiles builds the snapshot that adds and removes files.
func (s *Store) draftFiles(ctx context.Context, cur *State, op string, c Commit) (*draft, error) {
	b, err := s.newBuild(ctx, cur)
	if err != nil {
		return nil, err
	}
	if len(c.Add) > 0 {
		if err := cur.accepts(c.SchemaID); err != nil {
			return nil, err
		}
	}
	if len(c.Remove) > 0 {
		if err := b.remove(ctx, c.Remove); err != nil {
			return nil, err
		}
	}
	added := make([]DataFile, len(c.Add))
	for i, f := range c.Add {
		if added[i], err = s.check(ctx, cur, f); err != nil {
			return nil, err
		}
	}
	if len(added) > 0 {
		if err := b.write(manifestDraft{added: added}); err != nil {
			return nil, err
		}
	}
	if merge := mergeable(b.settled()); merge != nil {
		if err := b.merge(ctx, merge); err != nil {
			return nil, err
		}
	}
	return b.finish(op, c.Summary)
}

// accepts refuses files of a schema that lacks a field id of the current one under which the same
// column now lives: they would read as nulls. Older schemas that only lack newer columns are fine.
func (st *State) accepts(schemaID int) error {
	if schemaID == st.SchemaID {
		return nil
	}
	old := st.meta.schemaByID(schemaID)
	if old == nil {
		return &tarn.Error{Code: tarn.CodeInvalid, Detail: fmt.Sprintf("table %s has no schema %d", st.Name, schemaID)}
	}
	for _, id := range old.FieldIDs() {
		if _, ok := st.shape.schema.FindFieldByID(id); !ok {
			name, _ := old.FindColumnName(id)
			return &tarn.Error{Code: tarn.CodeConflict, Detail: fmt.Sprintf("table %s: the column %s got a new type after the files were written", st.Name, name),
				Hint: "write them again with the current schema"}
		}
	}
	return nil
}

// check returns the description of a file to add with its URL, having made sure that the file is
// there and whole.
func (s *Store) check(ctx context.Context, st *State, f DataFile) (DataFile, error) {
	key, ok := s.bucket.Key(f.Path)
	if !ok {
		key = f.Path
	}
	if !strings.HasPrefix(key, st.Prefix+"/") || strings.HasPrefix(key, st.Prefix+"/metadata/") {
		return f, &tarn.Error{Code: tarn.CodeInvalid, Detail: fmt.Sprintf("the file %s lies outside the folder %s of table %s", f.Path, st.Prefix, st.Name)}
	}
	info, err := s.bucket.Stat(ctx, key)
	if err != nil {
		return f, fmt.Errorf("table %s: %w", st.Name, err)
	}
	if info.Size != f.Bytes {
		return f, &tarn.Error{Code: tarn.CodeInvalid, Detail: fmt.Sprintf("the file %s has %d bytes, not %d", key, info.Size, f.Bytes)}
	}
	f.Path = s.bucket.URL(key)
	return st.shape.normal(f), nil
}
