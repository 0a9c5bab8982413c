package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"slices"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/delivery"
	"github.com/tarn-data/tarn/project"
	"github.com/tarn-data/tarn/query"
	"github.com/tarn-data/tarn/record"
	"github.com/tarn-data/tarn/stream"
	"github.com/tarn-data/tarn/table"
)

// Trial runs the pipelines of a project over records at hand, in a folder of its own that is removed
// at the end. It listens nowhere and touches nothing of the lake. It is for one goroutine.
type Trial struct {
	e   *Engine
	dir string
	ran int

	joins map[string]string // what is read in place of tables that extracts join
}

// TrialResult is what a pipeline made of some records.
type TrialResult struct {
	Rows   []byte // NDJSON
	Failed []TrialFailure
}

// TrialFailure is a record that failed.
type TrialFailure struct {
	Line   int // of the input, from 1
	Stage  string
	Reason string
	Record []byte
}

// NewTrial opens what the named pipelines need to run, their functions too. Other functions are not
// started: they may lack secrets here.
func NewTrial(ctx context.Context, p *project.Project, pipelines []string, log *slog.Logger) (_ *Trial, err error) {
	dir, err := os.MkdirTemp("", "tarn-test-")
	if err != nil {
		return nil, err
	}
	t := &Trial{dir: dir}
	defer func() {
		if err != nil {
			err = errors.Join(err, t.Close())
		}
	}()
	if t.e, err = New(Options{Project: p.Dir, Data: dir, Logger: log}); err != nil {
		return nil, err
	}
	apart := *p
	apart.Engines = project.Engines{}
	apart.Functions = slices.DeleteFunc(slices.Clone(p.Functions), func(f project.Function) bool {
		return !slices.ContainsFunc(pipelines, func(name string) bool {
			spec := p.Pipeline(name)
			return spec != nil && slices.Contains(spec.Functions(), f.Name)
		})
	})
	t.e.ctx, t.e.stop = context.WithCancel(ctx)
	if err := t.e.openStores(ctx, &apart); err != nil {
		return nil, err
	}
	t.e.running.Store(&running{project: &apart, byName: map[string]*pipe{}, streams: map[string]*pipe{}})
	var failed []error
	for _, s := range t.e.applyFunctions(ctx, &apart) {
		failed = append(failed, fmt.Errorf("function %s: %w", s.name, s.err))
	}
	return t, errors.Join(failed...)
}

// Close stops everything and removes the folder.
func (t *Trial) Close() error {
	var err error
	if t.e != nil {
		err = t.e.Close()
	}
	return errors.Join(err, os.RemoveAll(t.dir))
}

// Run brings the records of an input, one a line, through a pipeline, or an extract (see RunExtract), into a table of their own: the way
// records go through a lake, from the checks of the door to the columns of the table. orderBy are
// columns to sort the rows by.
func (t *Trial) Run(ctx context.Context, pipeline string, input []byte, orderBy []string) (TrialResult, error) {
	spec := t.e.running.Load().project.Pipeline(pipeline)
	if spec == nil && t.e.running.Load().project.Extract(pipeline) != nil {
		return t.RunExtract(ctx, pipeline, input, orderBy)
	}
	if spec == nil {
		return TrialResult{}, &tarn.Error{Code: tarn.CodeNotFound, Detail: fmt.Sprintf("there is no pipeline %q", pipeline)}
	}
	t.ran++
	in, failed, err := frameLines(input, spec.Records == project.RecordsOpaque, int(t.e.limits.RecordBytes))
	if err != nil {
		return TrialResult{}, err
	}
	res := TrialResult{Failed: failed}
	if in.seg.Count == 0 {
		return res, nil
	}
	d := project.Delivery{OnSchemaChange: project.Evolve, BufferBytes: 128 << 20}
	for _, have := range spec.Deliveries {
		if have.Table != "" {
			d = have
			break
		}
	}
	d.Table = fmt.Sprintf("%s.trial_%d", tableZone, t.ran)
	cfg, err := t.e.deliveryConfig(*spec, d, nil)
	if err != nil {
		return res, err
	}
	cfg.Source, cfg.BufferInterval, cfg.StageInterval = in, time.Hour, time.Millisecond
	w, err := delivery.New(cfg)
	if err != nil {
		return res, err
	}
	if err := w.Drain(ctx); err != nil {
		return res, err
	}
	recs, err := t.e.store.FailedRecords(ctx, table.FailedFilter{Table: d.Table, Limit: math.MaxInt32})
	if err != nil {
		return res, err
	}
	for _, r := range recs {
		res.Failed = append(res.Failed, TrialFailure{Line: in.lines[r.Offset], Stage: r.Stage, Reason: r.Reason, Record: r.Record})
	}
	st, err := t.e.state(ctx, d.Table)
	if err != nil || st == nil || st.Rows == 0 {
		return res, err
	}
	res.Rows, err = t.rows(ctx, d.Table, orderBy)
	return res, err
}

// tableZone is the zone of tables.
const tableZone = "curated"

// rows reads a table as tarn sql would show it.
func (t *Trial) rows(ctx context.Context, name string, orderBy []string) ([]byte, error) {
	sql := "SELECT * FROM " + name
	for i, c := range orderBy {
		sql += map[bool]string{true: " ORDER BY ", false: ", "}[i == 0] + tarn.QuoteIdent(c)
	}
	r, err := t.e.queries.Run(ctx, query.Request{SQL: sql, Format: query.NDJSON})
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = r.Write(&b)
	return b.Bytes(), errors.Join(err, r.Close())
}

// trialInput is a segment of records as a source.
type trialInput struct {
	seg   record.Segment
	lines []int // of the input, by offset
}

// trialArrival is when the records of every trial arrive, so that results repeat.
var trialArrival = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// refusedStage is the stage of records that a door does not accept.
const refusedStage = "refused"

// frameLines reads the lines of an input as a door would. Those it refuses are failures.
func frameLines(input []byte, opaque bool, recordBytes int) (*trialInput, []TrialFailure, error) {
	in := &trialInput{seg: record.Segment{Format: record.Opaque, Arrival: trialArrival}}
	var numbers []int
	var texts [][]byte
	n := 0
	for line := range bytes.Lines(input) {
		n++
		line = bytes.TrimRight(line, "\r\n")
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		numbers, texts = append(numbers, n), append(texts, line)
		if opaque {
			in.seg.Payload = record.AppendRecord(in.seg.Payload, line, false)
			in.seg.Count++
		}
	}
	if opaque {
		in.lines = numbers
		return in, nil, nil
	}
	framed, err := record.Frame(input, record.KindNDJSON, record.FrameOptions{Arrival: trialArrival,
		Limits: record.Limits{BodyBytes: len(input), RecordBytes: recordBytes}})
	if err != nil {
		return nil, nil, err
	}
	if framed.RejectedTotal > len(framed.Rejected) || framed.Accepted+framed.RejectedTotal != len(numbers) {
		return nil, nil, &tarn.Error{Code: tarn.CodeInvalid, Detail: fmt.Sprintf("%d lines of the input are no records", framed.RejectedTotal), Hint: "an input has one JSON object a line"}
	}
	var failed []TrialFailure
	refused := map[int]bool{}
	for _, r := range framed.Rejected {
		refused[r.Index] = true
		failed = append(failed, TrialFailure{Line: numbers[r.Index], Stage: refusedStage, Reason: r.Detail, Record: texts[r.Index]})
	}
	for i, n := range numbers {
		if !refused[i] {
			in.lines = append(in.lines, n)
		}
	}
	if len(framed.Parts) > 0 {
		in.seg = framed.Parts[0].Segment
	}
	return in, failed, nil
}

// Name implements delivery.Source.
func (in *trialInput) Name() string { return "trial" }

// Shards implements delivery.Source.
func (in *trialInput) Shards() int { return 1 }

// State implements delivery.Source.
func (in *trialInput) State(context.Context, int) (stream.ShardState, error) {
	return stream.ShardState{Next: uint64(in.seg.Count)}, nil
}

// Reader implements delivery.Source.
func (in *trialInput) Reader(_ context.Context, _ int, c stream.Cursor) (delivery.Reader, error) {
	return &trialReader{in: in, done: c.Offset >= uint64(in.seg.Count)}, nil
}

type trialReader struct {
	in   *trialInput
	done bool
}

// Poll implements delivery.Reader.
func (r *trialReader) Poll(context.Context) (stream.Entry, bool, error) {
	if r.done {
		return stream.Entry{}, false, nil
	}
	r.done = true
	return stream.Entry{Batch: record.Batch{Segments: []record.Segment{r.in.seg}}}, true, nil
}

// Close implements delivery.Reader.
func (r *trialReader) Close() {}
