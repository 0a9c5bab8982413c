package metadb

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/tarn-data/tarn"
)

// Notify sends a message to who listens on a channel, when the transaction commits. On SQLite, where nobody
// listens, it does nothing.
func (t *Tx) Notify(ctx context.Context, channel, message string) error {
	if !t.db.postgres {
		return nil
	}
	_, err := t.Exec(ctx, "SELECT pg_notify(?, ?)", channel, message)
	return err
}

// Listen calls heard with the messages of a channel, in order, and ready before the first: from then on none is
// missed. It has a connection of its own, and returns when ctx ends or that breaks. Messages may be missed
// without an error, when the network drops them silently or a pooler stands in between: look at intervals
// for what they tell of. CodeUnsupported on SQLite.
func (d *DB) Listen(ctx context.Context, channel string, ready func(), heard func(message string)) error {
	if !d.postgres {
		return &tarn.Error{Code: tarn.CodeUnsupported, Detail: "an SQLite file tells nobody of changes"}
	}
	conn, err := pgx.Connect(ctx, d.url)
	if err != nil {
		return redact(err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // the session ends either way
	if _, err := conn.Exec(ctx, "LISTEN "+tarn.QuoteIdent(channel)); err != nil {
		return err
	}
	ready()
	for {
		n, err := conn.WaitForNotification(ctx)
		if err != nil {
			return err
		}
		heard(n.Payload)
	}
}
