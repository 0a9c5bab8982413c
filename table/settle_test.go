package table

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/lake/fs"
	"github.com/tarn-data/tarn/metadb"
)

// After a COMMIT without an answer the pointer tells what happened.
func TestSettle(t *testing.T) {
	ctx := t.Context()
	bucket, err := fs.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer bucket.Close()
	db, err := metadb.Open(ctx, filepath.Join(t.TempDir(), "m.db"), metadb.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	s := Open(db, bucket, Options{})
	cur, err := s.Ensure(ctx, Definition{Name: "curated.t", Schema: tarn.Schema{Fields: []tarn.Field{{Name: "id", Type: tarn.Type{Kind: tarn.Long}}}}})
	if err != nil {
		t.Fatal(err)
	}
	point := func(key string, version int64) {
		t.Helper()
		if _, err := db.Exec(ctx, "UPDATE tables SET metadata_location = ?, version = ?", key, version); err != nil {
			t.Fatal(err)
		}
	}
	unknown := errors.Join(metadb.ErrCommitUnknown, errors.New("connection reset"))
	if err := s.settle(ctx, cur, "ours", unknown); tarn.CodeOf(err) != tarn.CodeUnavailable || errors.Is(err, metadb.ErrCommitUnknown) {
		t.Errorf("the pointer did not move: %v", err)
	}
	point("ours", cur.Version+1)
	if err := s.settle(ctx, cur, "ours", unknown); err != nil {
		t.Errorf("the pointer is ours: %v", err)
	}
	point("theirs", cur.Version+2)
	if err := s.settle(ctx, cur, "ours", unknown); tarn.CodeOf(err) != tarn.CodeUnavailable || !errors.Is(err, metadb.ErrCommitUnknown) {
		t.Errorf("another pointer says nothing about ours: %v", err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.settle(ctx, cur, "ours", unknown); !errors.Is(err, metadb.ErrCommitUnknown) {
		t.Errorf("no answer says nothing: %v", err)
	}
}
