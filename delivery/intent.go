package delivery

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/tarn-data/tarn/delivery/database"
	"github.com/tarn-data/tarn/table"
)

// The documents that announce a commit whose outcome only the database knows: of a delivery, and of a
// retry of its failed records, which runs beside it.
const (
	deliveryIntent = "database_intent"
	retryIntent    = "database_retry_intent"
)

// RetryAnnounced reports whether documents of a delivery announce the outcome of a retry: its failed
// records must stay until the delivery or the next retry has settled it.
func RetryAnnounced(documents map[string][]byte) bool { return documents[retryIntent] != nil }

// intent is what follows from a commit of the database.
type intent struct {
	table.Commit
	Tried []database.Progress `json:",omitempty"` // of a retry: how far retries are then, which counts records
}

func (w *databaseTarget) intentDocument() string {
	if w.cfg.Retry != nil {
		return retryIntent
	}
	return deliveryIntent
}

// intend returns how a commit moves the progress in the database, and what follows from it here.
func (w *databaseTarget) intend(c table.Commit) ([]database.Move, intent, error) {
	moves := movesOf(c.Progress)
	var i intent
	if w.cfg.Retry != nil {
		for k := range moves {
			m := &moves[k]
			m.From = nextOf(w.tried, m.Shard)
			m.Next, m.NextSeq = m.From+m.RecordsIn, 0
			i.Tried = append(i.Tried, database.Progress{Shard: m.Shard, Next: m.Next})
		}
	}
	var err error
	i.Commit, err = w.accounted(c)
	return moves, i, err
}

func movesOf(progress []table.Progress) []database.Move {
	moves := make([]database.Move, len(progress))
	for k, p := range progress {
		moves[k] = database.Move{Shard: p.Shard, From: p.From, Next: p.Next, NextSeq: p.NextSeq,
			Counts: database.Counts{RecordsIn: p.RecordsIn, RowsOut: p.RowsOut, Failed: p.Failed, Dropped: p.Dropped, Expired: p.Expired}}
	}
	return moves
}

// announce keeps what the commit about to be made means, so that failed records outlive a crash
// between the two databases (I3). Failed records that are settled by it must be there still: what
// somebody else has settled is not written again (I2).
func (w *databaseTarget) announce(ctx context.Context, i intent) error {
	doc, err := json.Marshal(i)
	if err != nil {
		return err
	}
	expect := slices.Clone(i.Resolve)
	for _, f := range i.Again {
		expect = append(expect, f.ID)
	}
	return w.cfg.Ledger.Record(ctx, w.cfg.Table, table.Commit{Expect: expect, Documents: map[string][]byte{w.intentDocument(): doc}}, nil)
}

// booked is the commit of an intent that the database has: it is not announced any more.
func (w *databaseTarget) booked(i intent) table.Commit {
	for _, p := range i.Tried {
		w.tried = slices.DeleteFunc(w.tried, func(q database.Progress) bool { return q.Shard == p.Shard })
		w.tried = append(w.tried, p)
	}
	return i.commit(w.intentDocument())
}

// commit is the intent as booked, with its document gone.
func (i intent) commit(document string) table.Commit {
	c := i.Commit
	if c.Documents = maps.Clone(c.Documents); c.Documents == nil {
		c.Documents = map[string][]byte{}
	}
	c.Documents[document] = nil
	return c
}

// stands reports whether the database has the commit: all shards moved, or none.
func (i intent) stands(there []database.Progress) bool {
	for _, p := range i.Progress {
		if nextOf(there, p.Shard) != p.Next {
			return false
		}
	}
	for _, p := range i.Tried {
		if nextOf(there, p.Shard) != p.Next {
			return false
		}
	}
	return true
}

func nextOf(there []database.Progress, shard int) uint64 {
	for _, p := range there {
		if p.Shard == shard {
			return p.Next
		}
	}
	return 0
}

// settleIntent books what the last session announced, if the database has it, and forgets it otherwise.
// there is the progress as the session that took over found it.
func (w *databaseTarget) settleIntent(ctx context.Context, document string, there []database.Progress) error {
	docs, err := w.cfg.Store.Documents(ctx, w.cfg.Table)
	if err != nil || docs[document] == nil {
		return err
	}
	var i intent
	if err := json.Unmarshal(docs[document], &i); err != nil {
		return fmt.Errorf("the commit announced for %s: %w", w.cfg.Table, err)
	}
	c := table.Commit{Documents: map[string][]byte{document: nil}}
	if i.stands(there) {
		c = i.commit(document)
	}
	return w.cfg.Ledger.Record(ctx, w.cfg.Table, c, nil)
}

// settleRetry settles what a retry announced that has ended in the middle. One that is under way
// loses its place, and is tried again.
func (w *databaseTarget) settleRetry(ctx context.Context) error {
	docs, err := w.cfg.Store.Documents(ctx, w.cfg.Table)
	if err != nil || !RetryAnnounced(docs) {
		return err
	}
	session, there, err := w.cfg.Database.Retrying().Begin(ctx, w.cfg.Source.Name(), w.cfg.Source.Shards())
	if err != nil {
		return err
	}
	defer session.Close()
	return w.settleIntent(ctx, retryIntent, there)
}
