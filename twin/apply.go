package twin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/metadb"
)

// Progress moves where a writer stands in one shard, together with the values (I2): the next one to
// read is From until the commit, and Next from then on.
type Progress struct {
	Writer     string // who, for example the extract
	Stream     string
	Shard      int
	From, Next uint64
}

// ProgressRow is where a writer stands in a shard.
type ProgressRow struct {
	Writer string
	Stream string
	Shard  int
	Next   uint64 // the offset to read next
}

// Batch is what commits together.
type Batch struct {
	Updates  []Update
	Progress []Progress
	// Tx, when not nil, writes more in the same transaction of Store.DB. It may run more than once and
	// must have no other effects.
	Tx func(ctx context.Context, tx *metadb.Tx) error
}

// Result says what became of the updates of a batch.
type Result struct {
	Applied  int // newest of their metrics now
	Old      int // not newer than what the twin had, or than others of the batch
	Rejected []Rejection
}

// Rejection is an update that cannot be kept.
type Rejection struct {
	Index int // in Batch.Updates
	Err   error
}

// MaxUpdates is how many updates a batch may hold.
const MaxUpdates = 1 << 17

// Apply brings newer values into the twin. Updates that cannot be kept (CodeInvalid, CodeTooLarge,
// CodeSchema) are in the result, in order of Index; they do not take the others with them. All else
// commits in one transaction, or nothing does: with CodeConflict when the progress of a writer is not
// at From, because somebody else went on with it. After any error the same batch may be applied again.
//
// The state afterwards does not depend on the order of batches or of updates, or on how often each
// was applied.
func (t *Twin) Apply(ctx context.Context, b Batch) (Result, error) {
	if len(b.Updates) > MaxUpdates {
		return Result{}, &tarn.Error{Code: tarn.CodeTooLarge, Detail: fmt.Sprintf("a batch of %d updates", len(b.Updates)), Hint: fmt.Sprintf("send at most %d at once", MaxUpdates)}
	}
	news, res := t.coalesce(b.Updates)
	t.write.Lock()
	defer t.write.Unlock()
	kept := slices.DeleteFunc(news, t.surpassed)
	if len(kept) == 0 && len(b.Progress) == 0 && b.Tx == nil {
		res.Old = len(b.Updates) - len(res.Rejected)
		t.tell(res)
		return res, nil
	}
	var won []change
	var version int64
	err := t.s.db.Tx(ctx, func(tx *metadb.Tx) (err error) {
		won, version = slices.Clone(kept), t.version
		if len(kept) > 0 {
			if version, err = t.nextVersion(ctx, tx); err != nil {
				return err
			}
			if won, err = t.beat(ctx, tx, won); err != nil {
				return err
			}
			if err := t.store(ctx, tx, version, won); err != nil {
				return err
			}
			if err := tx.Notify(ctx, channel, t.s.node); err != nil {
				return err
			}
		}
		for _, p := range b.Progress {
			if err := t.advance(ctx, tx, p); err != nil {
				return err
			}
		}
		if b.Tx != nil {
			return b.Tx(ctx, tx)
		}
		return nil
	})
	if err != nil {
		if errors.Is(err, metadb.ErrCommitUnknown) { // it may stand
			t.forget()
		}
		return Result{}, err
	}
	res.Applied, res.Old = len(won), len(b.Updates)-len(res.Rejected)-len(won)
	t.tell(res)
	if err := t.publish(context.WithoutCancel(ctx), version, won); err != nil {
		t.s.o.Logger.Warn("changes of a twin are shown late", "twin", t.name, "error", err)
	}
	return res, nil
}

func (t *Twin) tell(res Result) {
	if t.s.o.Applied != nil {
		t.s.o.Applied(t.name, res)
	}
}

// change is a new value of one metric.
type change struct {
	component string
	entry     entry
}

func (c *change) key() Key { return Key{c.component, c.entry.metric.Value()} }

func compareChanges(a, b change) int {
	return cmp.Or(strings.Compare(a.component, b.component), strings.Compare(a.entry.metric.Value(), b.entry.metric.Value()))
}

// coalesce checks updates and returns the newest of each metric, in order of their keys.
func (t *Twin) coalesce(updates []Update) ([]change, Result) {
	var res Result
	spec := t.spec.Load()
	newest := make(map[Key]int, len(updates))
	out := make([]change, 0, len(updates))
	for i := range updates {
		u := updates[i] // a copy: admit fills it in
		err := u.check()
		var unknown bool
		if err == nil {
			unknown, err = spec.admit(&u)
		}
		if err != nil {
			res.Rejected = append(res.Rejected, Rejection{i, err})
			continue
		}
		c := change{u.Component, newEntry(&u, unknown)}
		if at, ok := newest[u.Key()]; !ok {
			newest[u.Key()] = len(out)
			out = append(out, c)
		} else if c.entry.newer(&out[at].entry) {
			out[at] = c
		}
	}
	slices.SortFunc(out, compareChanges)
	return out, res
}

// surpassed reports whether memory has something at least as new, or the value has expired already.
func (t *Twin) surpassed(c change) bool {
	if c.entry.at <= t.horizon() {
		return true
	}
	have, a := t.cache.get(c.key())
	return a == present && !c.entry.newer(&have)
}

// nextVersion takes the lock that the writers of a twin wait for.
func (t *Twin) nextVersion(ctx context.Context, tx *metadb.Tx) (version int64, err error) {
	if _, err := tx.Exec(ctx, "UPDATE twins SET version = version + 1 WHERE id = ?", t.id); err != nil {
		return 0, err
	}
	err = tx.QueryRow(ctx, "SELECT version FROM twins WHERE id = ?", t.id).Scan(&version)
	return version, err
}

// beat drops the changes that the database has something at least as new for. What memory answers for
// has been compared with it already, unless others write to the database too.
func (t *Twin) beat(ctx context.Context, tx *metadb.Tx, changes []change) ([]change, error) {
	var ask []Key
	for i := range changes {
		if t.s.o.Shared {
			ask = append(ask, changes[i].key())
		} else if _, a := t.cache.get(changes[i].key()); a == unknown {
			ask = append(ask, changes[i].key())
		}
	}
	have, err := t.lookup(ctx, tx, ask)
	if err != nil || len(have) == 0 {
		return changes, err
	}
	return slices.DeleteFunc(changes, func(c change) bool {
		e, ok := have[c.key()]
		return ok && !c.entry.newer(&e)
	}), nil
}

// rowsPerStatement bounds the parameters of a statement: the time the driver takes to bind them grows with
// the square of their number.
const rowsPerStatement = 32

const (
	insertHead = "INSERT INTO twin_values (twin, name, version, written_at, content) VALUES "
	insertRow  = "(?, ?, ?, ?, ?)"
	insertTail = " ON CONFLICT (twin, name) DO UPDATE SET version = excluded.version, written_at = excluded.written_at, content = excluded.content"
)

// store writes the rows of changes, which are in order of their keys: neighbours lie on one page.
func (t *Twin) store(ctx context.Context, tx *metadb.Tx, version int64, changes []change) error {
	if len(changes) == 0 {
		return nil
	}
	many := len(changes) - len(changes)%rowsPerStatement
	if err := t.storeRows(ctx, tx, version, changes[:many], rowsPerStatement); err != nil {
		return err
	}
	return t.storeRows(ctx, tx, version, changes[many:], len(changes)-many)
}

// storeRows writes changes n at a time.
func (t *Twin) storeRows(ctx context.Context, tx *metadb.Tx, version int64, changes []change, n int) error {
	if len(changes) == 0 {
		return nil
	}
	stmt, err := tx.Prepare(ctx, insertHead+strings.Repeat(insertRow+", ", n-1)+insertRow+insertTail)
	if err != nil {
		return err
	}
	defer stmt.Close()
	args := make([]any, 0, 5*n)
	for group := range slices.Chunk(changes, n) {
		args = args[:0]
		for i := range group {
			c := &group[i]
			args = append(args, t.id, storedName(c.key()), version, c.entry.at, c.entry.pack(nil))
		}
		if _, err := stmt.ExecContext(ctx, args...); err != nil {
			return err
		}
		runtime.Gosched() // readers wait a fraction of a millisecond for the processor, and not for all the rows
	}
	return nil
}

// advance moves the progress of a writer. The WHERE is the fence: of two that read the same offset
// one finds it moved (I2).
func (t *Twin) advance(ctx context.Context, tx *metadb.Tx, p Progress) error {
	now := metadb.Micros(t.s.o.Clock())
	n, err := tx.Exec(ctx, "UPDATE twin_progress SET next_offset = ?, updated_at = ? WHERE twin = ? AND writer = ? AND stream = ? AND shard = ? AND next_offset = ?",
		int64(p.Next), now, t.id, p.Writer, p.Stream, p.Shard, int64(p.From))
	if err != nil || n == 1 {
		return err
	}
	n, err = tx.Exec(ctx, "INSERT INTO twin_progress (twin, writer, stream, shard, next_offset, updated_at) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (twin, writer, stream, shard) DO NOTHING",
		t.id, p.Writer, p.Stream, p.Shard, int64(p.Next), now)
	if err != nil || n == 1 {
		return err
	}
	return &tarn.Error{Code: tarn.CodeConflict, Detail: fmt.Sprintf("the progress of %s in stream %s shard %d is not at offset %d", p.Writer, p.Stream, p.Shard, p.From),
		Hint: "another writer went on: read the progress and go on from there"}
}

// Progress returns where a writer stands in each shard it has read.
func (t *Twin) Progress(ctx context.Context, writer string) ([]ProgressRow, error) {
	rows, err := t.s.db.Query(ctx, "SELECT stream, shard, next_offset FROM twin_progress WHERE twin = ? AND writer = ? ORDER BY stream, shard", t.id, writer)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []ProgressRow
	for rows.Next() {
		r, next := ProgressRow{Writer: writer}, int64(0)
		if err := rows.Scan(&r.Stream, &r.Shard, &next); err != nil {
			return nil, err
		}
		r.Next = uint64(next)
		out = append(out, r)
	}
	return out, rows.Err()
}

// publish shows what was committed to readers and watchers. The caller holds write.
func (t *Twin) publish(ctx context.Context, version int64, won []change) error {
	t.show(won)
	if t.s.o.Shared { // events come in the order of all nodes' commits
		return t.refresh(ctx)
	}
	if len(won) > 0 {
		if version != t.version+1 { // a commit whose outcome was not known stands
			t.feed.gap(version - 1)
		}
		t.feed.add(version, won)
	}
	t.version = version
	t.cache.shrink()
	return nil
}

// show brings changes in order of their keys into memory.
func (t *Twin) show(changes []change) {
	var news []entry
	for i := 0; i < len(changes); {
		component := changes[i].component
		for news = news[:0]; i < len(changes) && changes[i].component == component; i++ {
			news = append(news, changes[i].entry)
		}
		t.cache.merge(component, news)
	}
}
