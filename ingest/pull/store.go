package pull

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/metadb"
	"github.com/tarn-data/tarn/stream"
)

// The states of a run.
const (
	RunRunning  = "running"  // begun; the function has not answered for good
	RunAnswered = "answered" // the answer is stored; its records may be in the stream
	RunDone     = "done"
	RunFailed   = "failed"
)

// MaxRejects is how many rejected records a run keeps.
const MaxRejects = 20

// keptRuns is how many runs of a pipeline are kept.
const keptRuns = 1000

// Run is one run of a source function.
type Run struct {
	Pipeline string
	Number   int64 // counts the runs of the pipeline from 1
	Function string
	Slot     time.Time // when it was due
	State    string
	Started  time.Time
	Finished time.Time // zero while it goes on
	Outcome
}

// Outcome is what came of a run.
type Outcome struct {
	Attempts int       `json:"attempts"`
	Records  int64     `json:"records"`  // appended to the stream
	Rejected int64     `json:"rejected"` // of the answer, for being no records
	Rejects  []Reject  `json:"rejects,omitempty"`
	Code     tarn.Code `json:"code,omitempty"` // why it failed
	Error    string    `json:"error,omitempty"`
}

// Reject is one rejected record.
type Reject struct {
	Index  int       `json:"index"` // in the answer, from 0
	Code   tarn.Code `json:"code"`
	Detail string    `json:"detail"`
	Text   string    `json:"text,omitempty"` // its beginning
}

// run is a row of pull_runs.
type run struct {
	Run
	answer []byte
	plan   plan
}

// planVersion changes when the same plan would give other parts.
const planVersion = 1

// plan is all that decides how the records of an answer become parts, and where in the stream those may
// be that were appended.
type plan struct {
	Version     int             `json:"version"`
	Arrival     time.Time       `json:"arrival"`
	Shards      int             `json:"shards"`
	KeyPath     string          `json:"key_path,omitempty"`
	Opaque      bool            `json:"opaque,omitempty"`
	RecordBytes int             `json:"record_bytes"`
	Depth       int             `json:"depth,omitempty"`
	ChunkBytes  int             `json:"chunk_bytes"`
	Cursors     []stream.Cursor `json:"cursors"`
}

// source is a row of pull_sources.
type source struct {
	slot                           time.Time
	runs, failed, skipped, records int64
	checkpoint                     []byte
}

// load reads the source, which is stored when it is new, and the run that has not ended.
func (p *Puller) load(ctx context.Context) error {
	var s source
	var slot int64
	err := p.o.DB.QueryRow(ctx, "SELECT slot, runs, failed, skipped, records, checkpoint FROM pull_sources WHERE pipeline = ?", p.o.Pipeline).
		Scan(&slot, &s.runs, &s.failed, &s.skipped, &s.records, &s.checkpoint)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		slot = metadb.Micros(p.o.Clock())
		_, err = p.o.DB.Exec(ctx, "INSERT INTO pull_sources (pipeline, slot, runs, failed, skipped, records, checkpoint) VALUES (?, ?, 0, 0, 0, 0, ?)", p.o.Pipeline, slot, []byte{})
	}
	if err != nil {
		return fmt.Errorf("read the source: %w", err)
	}
	s.slot, s.checkpoint = metadb.Time(slot), append([]byte{}, s.checkpoint...) // never NULL
	p.source = &s
	last, err := p.lastRun(ctx)
	if err != nil {
		return err
	}
	if last != nil && (last.State == RunRunning || last.State == RunAnswered) {
		p.unended = last
		last = nil
	}
	p.set(func(st *Status) {
		st.Runs, st.Failed, st.Skipped, st.Records = s.runs, s.failed, s.skipped, s.records
		if last != nil {
			st.Last = &last.Run
		}
	})
	return nil
}

// lastRun returns the run that was begun last, or nil.
func (p *Puller) lastRun(ctx context.Context) (*run, error) {
	row := p.o.DB.QueryRow(ctx, "SELECT "+runColumns+", answer, plan FROM pull_runs WHERE pipeline = ? ORDER BY run DESC LIMIT 1", p.o.Pipeline)
	var r run
	var plan []byte
	err := scanRun(row, &r.Run, &r.answer, &plan)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err == nil {
		err = json.Unmarshal(plan, &r.plan)
	}
	if err != nil {
		return nil, fmt.Errorf("read the last run: %w", err)
	}
	return &r, nil
}

const runColumns = "pipeline, run, function, slot, state, outcome, started_at, finished_at"

func scanRun(row interface{ Scan(...any) error }, r *Run, more ...any) error {
	var slot, started, finished int64
	var outcome []byte
	if err := row.Scan(append([]any{&r.Pipeline, &r.Number, &r.Function, &slot, &r.State, &outcome, &started, &finished}, more...)...); err != nil {
		return err
	}
	r.Slot, r.Started = metadb.Time(slot), metadb.Time(started)
	if finished != 0 {
		r.Finished = metadb.Time(finished)
	}
	return json.Unmarshal(outcome, &r.Outcome)
}

// Runs returns the last runs of all pipelines, newest first, at most limit.
func Runs(ctx context.Context, db *metadb.DB, limit int) ([]Run, error) {
	rows, err := db.Query(ctx, "SELECT "+runColumns+" FROM pull_runs ORDER BY started_at DESC, run DESC LIMIT ?", limit)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []Run
	for rows.Next() {
		var r Run
		if err := scanRun(rows, &r); err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, rows.Err()
}

// claim makes the decision durable: it moves the last slot and stores the run that begins, if one does.
// Only one process can move it from where this one knows it.
func (p *Puller) claim(ctx context.Context, d decision) error {
	next := *p.source
	next.slot, next.skipped = d.mark, next.skipped+d.skipped
	var begun *run
	if !d.slot.IsZero() {
		next.runs++
		begun = &run{Run: Run{Pipeline: p.o.Pipeline, Number: next.runs, Function: p.o.Function, Slot: d.slot, State: RunRunning, Started: p.o.Clock().UTC()}}
	}
	err := p.o.DB.Tx(ctx, func(tx *metadb.Tx) error {
		n, err := tx.Exec(ctx, "UPDATE pull_sources SET slot = ?, runs = ?, skipped = ? WHERE pipeline = ? AND slot = ? AND runs = ?",
			metadb.Micros(next.slot), next.runs, next.skipped, p.o.Pipeline, metadb.Micros(p.source.slot), p.source.runs)
		switch {
		case err != nil:
			return err
		case n != 1:
			return &tarn.Error{Code: tarn.CodeConflict, Detail: "another process runs the source function of " + p.o.Pipeline, Hint: "let one process serve the project"}
		case begun == nil:
			return nil
		}
		_, err = tx.Exec(ctx, "INSERT INTO pull_runs (pipeline, run, function, slot, state, answer, plan, outcome, started_at, finished_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0)",
			begun.Pipeline, begun.Number, begun.Function, metadb.Micros(begun.Slot), begun.State, []byte{}, []byte("{}"), []byte("{}"), metadb.Micros(begun.Started))
		return err
	})
	if err != nil {
		return fmt.Errorf("begin a run: %w", err)
	}
	p.source, p.unended = &next, begun
	p.set(func(s *Status) { s.Runs, s.Skipped = next.runs, next.skipped })
	return nil
}

// saveAnswer stores the answer durably, before any of its records is appended.
func (p *Puller) saveAnswer(ctx context.Context, r *run) error {
	doc, err := json.Marshal(r.plan)
	if err != nil {
		return err
	}
	outcome, err := json.Marshal(r.Outcome)
	if err != nil {
		return err
	}
	_, err = p.o.DB.Exec(ctx, "UPDATE pull_runs SET state = ?, answer = ?, plan = ?, outcome = ? WHERE pipeline = ? AND run = ?", r.State, r.answer, doc, outcome, r.Pipeline, r.Number)
	if err != nil {
		return fmt.Errorf("store the answer of a run: %w", err)
	}
	return nil
}

// saveEnd stores the outcome of a run and, of one that succeeded, the new checkpoint; nil keeps the old.
func (p *Puller) saveEnd(ctx context.Context, r *run, checkpoint []byte) error {
	outcome, err := json.Marshal(r.Outcome)
	if err != nil {
		return err
	}
	next := *p.source
	next.records += r.Records
	if r.State == RunFailed {
		next.failed++
	}
	if checkpoint != nil {
		next.checkpoint = checkpoint
	}
	err = p.o.DB.Tx(ctx, func(tx *metadb.Tx) error {
		if _, err := tx.Exec(ctx, "UPDATE pull_runs SET state = ?, answer = ?, outcome = ?, finished_at = ? WHERE pipeline = ? AND run = ?",
			r.State, []byte{}, outcome, metadb.Micros(r.Finished), r.Pipeline, r.Number); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "UPDATE pull_sources SET failed = ?, records = ?, checkpoint = ? WHERE pipeline = ?", next.failed, next.records, next.checkpoint, r.Pipeline); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "DELETE FROM pull_runs WHERE pipeline = ? AND run <= ?", r.Pipeline, r.Number-keptRuns)
		return err
	})
	if err != nil {
		return fmt.Errorf("end a run: %w", err)
	}
	p.source, p.unended = &next, nil
	p.set(func(s *Status) { s.Failed, s.Records, s.Last = next.failed, next.records, &r.Run })
	return nil
}
