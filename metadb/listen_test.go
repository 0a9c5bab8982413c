package metadb_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/metadb"
	"github.com/tarn-data/tarn/metadb/metadbtest"
)

// TestListen: what a transaction tells is heard in order when it commits, and not when it does not.
func TestListen(t *testing.T) {
	lite, err := metadb.Open(t.Context(), filepath.Join(t.TempDir(), "a.db"), metadb.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer lite.Close()
	if err := lite.Tx(t.Context(), func(tx *metadb.Tx) error { return tx.Notify(t.Context(), "c", "m") }); err != nil {
		t.Error(err)
	}
	if err := lite.Listen(t.Context(), "c", nil, nil); tarn.CodeOf(err) != tarn.CodeUnsupported {
		t.Error(err)
	}

	db, err := metadb.Open(t.Context(), metadbtest.Postgres(t).Database(t), metadb.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	ctx, stop := context.WithTimeout(t.Context(), 20*time.Second)
	defer stop()
	heard, ready, ended := make(chan string, 10), make(chan struct{}), make(chan error, 1)
	go func() { ended <- db.Listen(ctx, `odd "name`, func() { close(ready) }, func(m string) { heard <- m }) }()
	<-ready
	boom := errors.New("boom")
	for _, message := range []string{"first", "", "last"} {
		err := db.Tx(ctx, func(tx *metadb.Tx) error {
			if err := tx.Notify(ctx, `odd "name`, message); err != nil || message != "" {
				return err
			}
			return boom
		})
		if err != nil && !errors.Is(err, boom) {
			t.Fatal(err)
		}
	}
	if a, b := <-heard, <-heard; a != "first" || b != "last" {
		t.Error(a, b)
	}
	if _, err := db.Exec(ctx, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND datname = current_database()"); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil || ctx.Err() != nil {
		t.Errorf("the connection is gone: %v", err)
	}
}
