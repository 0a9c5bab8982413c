package extract

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/delivery"
	"github.com/tarn-data/tarn/duck"
	"github.com/tarn-data/tarn/project"
	"github.com/tarn-data/tarn/table"
)

// WindowOptions say how records are put into windows. Fields without a default are required.
type WindowOptions struct {
	Stream  StreamOptions // where results go
	Window  project.Window
	Query   Query
	Lookup  func(ctx context.Context) (*delivery.Lookups, error) // as delivery.Config.Lookup; nil without tables
	Extract string
	From    string                 // the stream of the records
	Shards  func() int             // of that stream
	Ends    func(shard int) uint64 // the offset after the last record of a shard; for IdleAfter
	Dir     string                 // for files on their way
	// CloseAtEnd completes all windows when everything in the stream has been read: for trials.
	CloseAtEnd bool
	// Late is told how many records of a commit came too late, and whether they failed or were left out. Default:
	// nobody is.
	Late func(records int, failed bool)
	// Record returns the bytes of a record and when it was accepted, for project.LateFailed.
	Record func(ctx context.Context, p tarn.Position) (rec []byte, arrival time.Time, err error)
}

// WindowSink gathers records into windows of event time, and appends the result of each to a stream,
// once.
//
// The time of a shard is the newest time of its records so far. A record is late when its own time lies
// more than the lateness behind that, which depends on nothing but the records before it in its shard.
// The time of the windows is the least of all shards, less the lateness: a window is complete when that
// has come to its end, because whatever belongs to it and comes now is late in its shard. Then the SQL
// runs over all of its records, in the order of time and position. So what a window gives depends
// neither on batches, nor on how the reading of shards interleaves, nor on the clock.
//
// The records of open windows are kept as Parquet files. Their names, the times of the shards and of the
// windows commit together with positions and results, in the way of StreamSink.
type WindowSink struct {
	*StreamSink
	o WindowOptions

	mu    sync.Mutex // held by commits, of the session and of retries beside it
	begun bool       // a session runs, and the rest is as committed
	state windowState
	next  map[int]uint64 // the offset to read next, by shard
	due   int64          // of sessions: no window ends before

	kept atomic.Pointer[Kept]
}

// Kept is the records that are kept for open windows. Those of others that lie in one file with them count too.
type Kept struct{ Records, Bytes int64 }

// Kept returns what the windows hold, as of the last commit.
func (s *WindowSink) Kept() Kept {
	if k := s.kept.Load(); k != nil {
		return *k
	}
	return Kept{}
}

// count makes Kept that of the state.
func (s *WindowSink) count() {
	var k Kept
	for _, g := range s.state.Segments {
		k.Records, k.Bytes = k.Records+g.Rows, k.Bytes+g.Bytes
	}
	s.kept.Store(&k)
}

// NewWindowSink returns a sink that has done nothing yet.
func NewWindowSink(o WindowOptions) *WindowSink {
	s := &WindowSink{StreamSink: NewStreamSink(o.Stream), o: o}
	o.Stream = s.StreamSink.o
	return s
}

// WindowSteps is the transform before a WindowSink: records without a usable time fail, the others get
// the column __us.
func WindowSteps(w *project.Window) []delivery.Step {
	at := "TRY_CAST(" + tarn.QuoteIdent(w.Time) + " AS TIMESTAMP)"
	timed := delivery.Step{Transform: project.Transform{SQL: "SELECT *, epoch_us(" + at + ") AS " + timeColumn + " FROM records"}, RowByRow: true}
	if w.Time == delivery.ArrivalColumn {
		return []delivery.Step{timed}
	}
	return []delivery.Step{{Transform: project.Transform{Validate: []project.Rule{{Name: "event_time", Condition: at + " IS NOT NULL", OnFail: project.FailRecord}}}}, timed}
}

// Begin implements delivery.Sink.
func (s *WindowSink) Begin(ctx context.Context) (map[string][]byte, []table.ProgressRow, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	docs, rows, err := s.StreamSink.Begin(ctx)
	if err != nil {
		return nil, nil, err
	}
	if s.state, err = parseState(docs[windowDocument]); err != nil {
		return nil, nil, fmt.Errorf("the windows of %s: %w", s.o.Extract, err)
	}
	s.next, s.due = map[int]uint64{}, noTime
	for _, r := range rows {
		if r.Stream == s.o.From {
			s.next[r.Shard] = r.Next
		}
	}
	if err := os.MkdirAll(s.o.Dir, 0o755); err != nil {
		return nil, nil, err
	}
	if err := s.sweepSegments(ctx); err != nil {
		return nil, nil, err
	}
	s.begun = true
	s.count()
	return docs, rows, nil
}

// End implements delivery.Sink.
func (s *WindowSink) End() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.begun = false
	_ = os.RemoveAll(s.o.Dir)
}

// Lines implements delivery.Sink: records are kept as Parquet until their windows are complete.
func (s *WindowSink) Lines() string { return "" }

// Commit implements delivery.Sink.
func (s *WindowSink) Commit(ctx context.Context, rows delivery.SinkRows, c table.Commit) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.begun {
		return errors.New("a retry of failed records was cut off, and the windows begin anew from what is committed")
	}
	return s.commit(ctx, rows, c, nil)
}

// commit brings rows into windows, those of failed records with retry. Whether what could not be committed
// stands is known to the next session only. The caller holds mu.
func (s *WindowSink) commit(ctx context.Context, rows delivery.SinkRows, c table.Commit, retry *windowRetry) (err error) {
	r := round{WindowSink: s, db: rows.DB, state: s.state.clone(), due: s.due, live: -1, commit: &c, retry: retry, columns: s.fields}
	defer r.cleanUp()
	defer func() { s.begun = s.begun && err == nil }()
	if retry == nil {
		for _, p := range c.Progress {
			s.next[p.Shard] = p.Next
		}
	} else if r.columns == nil {
		r.columns = retry.fields
	}
	if rows.Count > 0 {
		if err := r.take(ctx, rows.Files); err != nil {
			return err
		}
	}
	results, err := r.close(ctx)
	if err != nil {
		return err
	}
	if err := r.tidy(ctx); err != nil {
		return err
	}
	doc, err := json.Marshal(&r.state)
	if err != nil {
		return err
	}
	if retry != nil {
		if c, err = retry.settle.of(c); err != nil {
			return err
		}
	}
	docs := map[string][]byte{windowDocument: doc}
	maps.Copy(docs, c.Documents)
	c.Documents = docs
	if store := s.sinkStore(retry); results == "" {
		err = store.Record(ctx, s.StreamSink.o.Delivery, c, nil)
	} else {
		err = s.append(ctx, store, []string{results}, c)
	}
	if err != nil {
		return err
	}
	old := s.state
	s.state, s.due = r.state, r.due
	s.count()
	if s.o.Late != nil && retry == nil && r.late > 0 {
		s.o.Late(int(r.late), r.failsLate())
	}
	return s.drop(ctx, old)
}

// round is one commit of a WindowSink.
type round struct {
	*WindowSink
	db       *duck.DB
	state    windowState // as it will be
	due      int64
	commit   *table.Commit
	retry    *windowRetry // the rows are of failed records
	columns  []tarn.Field // of the records
	late     int64        // records
	news     int          // segments of the batch, the last of the state
	live     int64        // records of open sessions; -1 when they were not counted
	affected []int64      // starts of windows that were delivered and got more records since
	files    []string
}

// file returns the path of a new local file, which is removed with the round.
func (r *round) file(kind string) string {
	path := filepath.Join(r.o.Dir, kind+"-"+uuid.NewString())
	r.files = append(r.files, path)
	return path
}

func (r *round) cleanUp() {
	for _, f := range r.files {
		_ = os.Remove(f)
	}
}

// allowed is how far a record may lie behind its shard, in microseconds.
func (s *WindowSink) allowed() int64 {
	return (s.o.Window.Lateness + s.o.Window.UpdateFor).Microseconds()
}

// close runs the SQL over the windows that are complete, and returns the file of its rows, or "".
func (r *round) close(ctx context.Context) (string, error) {
	to := r.complete()
	if r.columns == nil || to <= r.state.Closed && r.affected == nil { // without fields no batch has come since the start
		return "", nil
	}
	to = max(to, r.state.Closed)
	file := ""
	if r.mayClose(to) {
		var err error
		if file, err = r.run(ctx, to); err != nil {
			return "", err
		}
	}
	r.state.Closed = to
	return file, nil
}

// complete is the time that windows have come to: all that end by then are complete.
func (r *round) complete() int64 {
	furthest := noTime
	for _, t := range r.state.Newest {
		furthest = max(furthest, t)
	}
	if furthest == noTime {
		return noTime
	}
	if r.o.CloseAtEnd && r.atEnd() {
		return lastTime
	}
	idle := r.o.Window.IdleAfter.Microseconds()
	least := furthest
	for shard := range r.o.Shards() {
		t, ok := r.state.Newest[shard]
		if !ok {
			t = noTime
		}
		if idle > 0 && t < furthest-idle && r.next[shard] >= r.o.Ends(shard) {
			t = furthest - idle // it has nothing to read, and has been quiet long enough
		}
		least = min(least, t)
	}
	if least == noTime {
		return noTime
	}
	return least - r.o.Window.Lateness.Microseconds()
}

// atEnd reports whether everything in the stream has been read.
func (r *round) atEnd() bool {
	for shard := range r.o.Shards() {
		if r.next[shard] < r.o.Ends(shard) {
			return false
		}
	}
	return true
}

// run runs the SQL over the windows that end after those closed and up to a time, and over those
// affected, and returns the file of its rows, or "" for none.
func (r *round) run(ctx context.Context, to int64) (string, error) {
	var look *delivery.Lookups
	if r.o.Lookup != nil {
		var err error
		if look, err = r.o.Lookup(ctx); err != nil {
			return "", err
		}
		look.Hold()
		defer look.Release()
	}
	if r.affected != nil {
		r.state.Revision++
	}
	sql, columns, err := r.bound(ctx, to, look)
	if err != nil {
		return "", err
	}
	file := r.file("results")
	rows, err := r.db.CopyLines(ctx, "SELECT "+jsonColumns(columns)+" FROM ("+sql+"\n)", file)
	if err != nil {
		return "", err
	}
	if r.o.Window.Gap > 0 {
		if err := r.lookAhead(ctx, to); err != nil {
			return "", err
		}
	}
	if rows == 0 {
		return "", nil
	}
	return file, nil
}
