package engine

import (
	"context"
	"fmt"
	"time"

	"github.com/tarn-data/tarn/server"
	"github.com/tarn-data/tarn/table"
)

// Verify proves from the stores that nothing accepted has disappeared (I3): for every shard and
// table, accepted = in table + dropped + failed + pending + expired + lost, and nothing is lost; the rows
// that commits counted are the rows the table's metadata counts; and every file the metadata names is
// there.
func (e *Engine) Verify(ctx context.Context) (server.VerifyDoc, error) { return e.verify(ctx, nil) }

func (e *Engine) verify(ctx context.Context, deep *reading) (server.VerifyDoc, error) {
	v := server.VerifyDoc{OK: true, At: time.Now().UTC()}
	problem := func(subject, format string, args ...any) {
		v.OK = false
		v.Problems = append(v.Problems, server.VerifyProblem{Subject: subject, Detail: fmt.Sprintf(format, args...)})
	}
	accepted, err := e.acceptances(ctx)
	if err != nil {
		return v, err
	}
	losses := &lossNaming{&v, accepted, problem}
	running := e.running.Load()
	extracts := map[string]string{} // by delivery
	for _, x := range running.extracts {
		for _, s := range x.stages {
			extracts[s.name()] = x.spec.Name
		}
	}
	for p, d := range running.eachDelivery() {
		name := d.name()
		// One state and its progress, unmoved by commits in between.
		st, rows, err := e.stateAndProgress(ctx, name)
		if err != nil {
			return v, err
		}
		for shard := range p.stream.Shards() {
			a, err := e.account(ctx, p, name, shard, rows, losses)
			if err != nil {
				return v, err
			}
			a.Extract = extracts[name]
			v.Accounts = append(v.Accounts, a)
			add(&v.Totals, a)
			if a.Expired > 0 {
				v.Notes = append(v.Notes, server.VerifyProblem{Subject: fmt.Sprintf("%s shard %d → %s", a.Stream, shard, name),
					Detail: fmt.Sprintf("warning: %d records expired before they were delivered; see stream.retention and the log", a.Expired)})
			}
		}
		if st == nil {
			continue
		}
		if err := e.verifyRows(ctx, st, rows, deep, problem); err != nil {
			return v, err
		}
	}
	if err := e.verifyKept(ctx, &v, deep, problem); err != nil {
		return v, err
	}
	if err := e.verifyTwins(ctx, problem); err != nil {
		return v, err
	}
	if err := e.verifyRaw(ctx, &v, deep, problem); err != nil {
		return v, err
	}
	if err := e.verifyCleaned(ctx, problem); err != nil {
		return v, err
	}
	if err := e.verifyOriginals(ctx, deep, problem); err != nil {
		return v, err
	}
	if e.marks.damaged(ctx) {
		problem("meta/"+marksKey, "the file was damaged at a start and was begun anew, so that losses noted before count as expired; it is kept as meta/%s until you remove that", marksDamaged)
	}
	e.lossesOutside(losses)
	notes, err := e.undelivered(ctx)
	v.Notes = append(v.Notes, notes...)
	return v, err
}

// undelivered names streams that no pipeline reads.
func (e *Engine) undelivered(ctx context.Context) ([]server.VerifyProblem, error) {
	logs, err := e.streams.Logs(ctx)
	if err != nil {
		return nil, err
	}
	var notes []server.VerifyProblem
	seen := map[string]bool{}
	for _, l := range logs {
		if _, ok := e.stream(l.Stream); ok || seen[l.Stream] || e.marks.neverHeld(shardID{l.Stream, l.Shard}) {
			continue
		}
		seen[l.Stream] = true
		notes = append(notes, server.VerifyProblem{Subject: l.Stream, Detail: "the stream holds records and no pipeline reads it; they stay until a pipeline names it again"})
	}
	for _, p := range e.pipes() {
		if len(e.running.Load().readersOf(p)) == 0 && !p.made() {
			notes = append(notes, server.VerifyProblem{Subject: p.stream.Name(), Detail: "the pipeline " + p.spec.Name + " delivers to no table"})
		}
	}
	return notes, nil
}

// stateAndProgress reads both until no commit came between. The state is nil without a table.
func (e *Engine) stateAndProgress(ctx context.Context, name string) (*table.State, []table.ProgressRow, error) {
	for range 20 {
		before, err := e.state(ctx, name)
		if err != nil {
			return nil, nil, err
		}
		rows, err := e.store.Progress(ctx, name)
		if err != nil {
			return nil, nil, err
		}
		after, err := e.state(ctx, name)
		if err != nil {
			return nil, nil, err
		}
		if before == after || before != nil && after != nil && before.Version == after.Version {
			return after, rows, nil
		}
	}
	return nil, nil, fmt.Errorf("table %s changes too fast to be verified", name)
}

// account balances one shard against one table.
func (e *Engine) account(ctx context.Context, p *pipe, name string, shard int, rows []table.ProgressRow, losses *lossNaming) (server.VerifyAccount, error) {
	a := server.VerifyAccount{Stream: p.stream.Name(), Shard: shard, Table: name, OK: true}
	st, err := p.stream.State(ctx, shard)
	if err != nil {
		return a, err
	}
	a.Accepted = st.Next
	var r table.ProgressRow
	for _, row := range rows {
		if row.Stream == a.Stream && row.Shard == shard {
			r = row
		}
	}
	subject := fmt.Sprintf("%s shard %d → %s", a.Stream, shard, name)
	bad := func(format string, args ...any) {
		a.OK = false
		losses.problem(subject, format, args...)
	}
	lost := e.marks.of(shardID{a.Stream, shard}).lostTo(name)
	for _, l := range lost {
		if losses.name(shardID{a.Stream, shard}, subject, l) {
			a.OK = false
		}
	}
	// A delivery counts what it finds gone as expired, whatever the reason.
	a.Lost = min(within(lost, 0, r.Next), r.Expired)
	a.Failed, a.Dropped, a.Expired = r.Failed, r.Dropped, r.Expired-a.Lost
	if r.Failed+r.Dropped > r.RecordsIn {
		bad("%d failed and %d dropped records of %d read", r.Failed, r.Dropped, r.RecordsIn)
	} else {
		a.InTable = r.RecordsIn - r.Failed - r.Dropped
	}
	if r.Next > st.Next {
		bad("the table holds records up to offset %d, the stream ends at %d", r.Next, st.Next)
		return a, nil
	}
	if r.RecordsIn+r.Expired != r.Next {
		bad("%d records read and %d expired do not make offset %d", r.RecordsIn, r.Expired, r.Next)
	}
	ahead := within(lost, r.Next, st.Next)
	a.Lost += ahead
	a.Pending = st.Next - r.Next - ahead
	if st.First > r.Next { // retention went past the delivery
		gone := min(st.First, st.Next) - r.Next
		gone -= within(lost, r.Next, r.Next+gone)
		a.Expired += gone
		a.Pending -= gone
	}
	stored, counted, err := e.failedRecords(ctx, name, a.Stream)
	if err != nil {
		return a, err
	}
	if stored != counted {
		bad("%d failed records were counted, %d are kept", counted, stored)
	}
	if sum := a.InTable + a.Dropped + a.Failed + a.Pending + a.Expired + a.Lost; sum != a.Accepted {
		bad("%d accounted for, %d accepted", sum, a.Accepted)
	}
	return a, nil
}

// failedRecords returns how many failed records of a stream are kept and how many were counted, with no
// commit in between.
func (e *Engine) failedRecords(ctx context.Context, name, stream string) (stored, counted uint64, err error) {
	count := func() (n uint64, err error) {
		rows, err := e.store.Progress(ctx, name)
		for _, r := range rows {
			if r.Stream == stream {
				n += r.Failed
			}
		}
		return n, err
	}
	for range 20 {
		if counted, err = count(); err != nil {
			return 0, 0, err
		}
		n, err := e.store.CountFailed(ctx, table.FailedFilter{Table: name, Stream: stream})
		if err != nil {
			return 0, 0, err
		}
		again, err := count()
		if err != nil {
			return 0, 0, err
		}
		if stored = uint64(n); again == counted {
			break
		}
	}
	return stored, counted, nil
}

// verifyRows checks that a table has the rows that were committed, in files that are there.
func (e *Engine) verifyRows(ctx context.Context, st *table.State, rows []table.ProgressRow, deep *reading, problem func(string, string, ...any)) error {
	var out uint64
	for _, r := range rows {
		out += r.RowsOut
	}
	if uint64(st.Rows) != out {
		problem(st.Name, "commits delivered %d rows, the table's snapshot counts %d", out, st.Rows)
	}
	return e.verifyFiles(ctx, st, deep, problem)
}

// verifyFiles checks that the files of a snapshot are there, with the sizes and rows it counts; deep
// reads them.
func (e *Engine) verifyFiles(ctx context.Context, st *table.State, deep *reading, problem func(string, string, ...any)) error {
	if st.SnapshotID == 0 { // nothing committed yet
		return nil
	}
	st, release, err := e.store.Acquire(ctx, st.Name, &table.AsOf{Snapshot: st.SnapshotID})
	if err != nil {
		return err
	}
	defer release()
	files, err := e.store.Files(ctx, st)
	if err != nil {
		return err
	}
	var rows int64
	for _, f := range files {
		rows += f.Rows
		key, ok := e.bucket.Key(f.Path)
		if !ok {
			problem(st.Name, "%s lies outside the lake", f.Path)
			continue
		}
		info, err := e.bucket.Stat(ctx, key)
		switch {
		case err != nil:
			problem(st.Name, "the file %s is missing", key)
		case info.Size != f.Bytes:
			problem(st.Name, "the file %s has %d bytes, the table counts %d", key, info.Size, f.Bytes)
		case deep != nil:
			why, err := e.readDataFile(ctx, f.Path, f.Rows)
			if err != nil {
				return err
			}
			if why != "" {
				problem(st.Name, "the file %s: %s", key, why)
			}
			deep.checked(st.Name, f.Bytes)
		}
	}
	if rows != st.Rows {
		problem(st.Name, "the files hold %d rows, the snapshot counts %d", rows, st.Rows)
	}
	return nil
}

func add(t *server.VerifyTotals, a server.VerifyAccount) {
	t.Accepted += a.Accepted
	t.InTable += a.InTable
	t.Dropped += a.Dropped
	t.Failed += a.Failed
	t.Pending += a.Pending
	t.Expired += a.Expired
	t.Lost += a.Lost
}
