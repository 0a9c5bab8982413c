package engine

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/delivery"
	"github.com/tarn-data/tarn/extract"
	"github.com/tarn-data/tarn/project"
	"github.com/tarn-data/tarn/server"
	"github.com/tarn-data/tarn/stream"
	"github.com/tarn-data/tarn/table"
)

// Join gives the trial a file to stand for a table that extracts join: NDJSON, CSV or Parquet.
func (t *Trial) Join(name, file string) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return &tarn.Error{Code: tarn.CodeNotFound, Detail: "the file " + file + " cannot be read", Err: err}
	}
	reader := map[string]string{".parquet": "read_parquet", ".csv": "read_csv", ".json": "read_json", ".ndjson": "read_json"}[strings.ToLower(filepath.Ext(file))]
	if reader == "" {
		return &tarn.Error{Code: tarn.CodeInvalid, Detail: file + " is none of .ndjson, .json, .csv and .parquet"}
	}
	inside := t.e.path("staging", fmt.Sprintf("join-%d%s", len(t.joins), filepath.Ext(file)))
	if err := os.WriteFile(inside, b, 0o600); err != nil {
		return err
	}
	if t.joins == nil {
		t.joins = map[string]string{}
	}
	t.joins[strings.ToLower(name)] = reader + "(" + tarn.QuoteLiteral(inside) + ")"
	return nil
}

// RunExtract brings the records of an input, one a line, through the SQL of an extract, and returns its
// rows as they would go to their place. All windows are complete at the end of the input. orderBy are
// columns to sort rows by, without windows.
func (t *Trial) RunExtract(ctx context.Context, name string, input []byte, orderBy []string) (TrialResult, error) {
	p := t.e.running.Load().project
	x := p.Extract(name)
	if x == nil {
		names := []string{}
		for _, x := range p.Extracts {
			names = append(names, x.Name)
		}
		return TrialResult{}, server.NotFound("extract", name, names)
	}
	t.ran++
	from := &pipe{spec: project.Pipeline{Records: project.RecordsJSON}}
	for _, l := range p.Pipelines {
		if l.Stream.Name == x.From {
			from.spec = l
		}
	}
	in, failed, err := frameLines(input, from.spec.Records == project.RecordsOpaque, int(t.e.limits.RecordBytes))
	if err != nil {
		return TrialResult{}, err
	}
	res := TrialResult{Failed: failed}
	if in.seg.Count == 0 {
		return res, nil
	}
	q, err := extract.Compile(ctx, t.e.convert, x.SQL, false)
	if err != nil {
		return res, err
	}
	look, err := t.lookups(q)
	if err != nil {
		return res, err
	}
	delivered := fmt.Sprintf("%s.trial_%d", tableZone, t.ran)
	cfg, err := t.e.stageConfig(&extraction{spec: *x}, from, delivered)
	if err != nil {
		return res, err
	}
	cfg.Stream, cfg.Source, cfg.BufferInterval = nil, in, time.Hour
	if x.Window == nil {
		cfg.Transform, cfg.Lookup, cfg.Positions = []delivery.Step{{Transform: project.Transform{SQL: q.SQL}, RowByRow: rowByRow(q.SQL)}}, look, q.Positions
		if !q.Positions {
			cfg.Ordered = nil
		}
		if err := drainTrial(ctx, cfg); err != nil {
			return res, err
		}
		if st, err := t.e.state(ctx, delivered); err == nil && st != nil && st.Rows > 0 {
			if res.Rows, err = t.rows(ctx, delivered, orderBy); err != nil {
				return res, err
			}
		}
	} else if res.Rows, err = t.runWindows(ctx, x, q, look, in, cfg); err != nil {
		return res, err
	}
	return res, t.failures(ctx, delivered, in, &res)
}

func drainTrial(ctx context.Context, cfg delivery.Config) error {
	w, err := delivery.New(cfg)
	if err != nil {
		return err
	}
	return w.Drain(ctx)
}

// failures adds the records that failed on the way to a place.
func (t *Trial) failures(ctx context.Context, name string, in *trialInput, res *TrialResult) error {
	recs, err := t.e.store.FailedRecords(ctx, table.FailedFilter{Table: name, Limit: math.MaxInt32})
	for _, r := range recs {
		res.Failed = append(res.Failed, TrialFailure{Line: in.lines[r.Offset], Stage: r.Stage, Reason: r.Reason, Record: r.Record})
	}
	return err
}

// lookups are the files that stand for the tables of a query.
func (t *Trial) lookups(q extract.Query) (func(context.Context) (*delivery.Lookups, error), error) {
	var with []string
	for _, j := range q.Tables {
		from, ok := t.joins[j.Table]
		if !ok {
			return nil, &tarn.Error{Code: tarn.CodeInvalid, Detail: "the extract joins " + j.Table + ", and there is no lake here", Hint: "give a file in its place: --join " + j.Table + "=FILE"}
		}
		with = append(with, j.As+" AS (SELECT * FROM "+from+")")
	}
	if with == nil {
		return nil, nil
	}
	look := delivery.NewLookups(strings.Join(with, ", "), nil)
	return func(context.Context) (*delivery.Lookups, error) { return look, nil }, nil
}

// runWindows brings the input through windows into a stream, and returns what is in it.
func (t *Trial) runWindows(ctx context.Context, x *project.Extract, q extract.Query, look func(context.Context) (*delivery.Lookups, error), in *trialInput, cfg delivery.Config) (_ []byte, err error) {
	to, err := stream.Open(ctx, t.e.streams, stream.Config{Name: fmt.Sprintf("trial-%d", t.ran), Shards: 1})
	if err != nil {
		return nil, err
	}
	defer to.Close()
	o, err := t.e.streamOptions(&pipe{stream: to}, cfg.Table)
	if err != nil {
		return nil, err
	}
	cfg.Sink = extract.NewWindowSink(extract.WindowOptions{Stream: o, Window: *x.Window, Query: q, Lookup: look, Extract: x.Name, From: in.Name(), Shards: in.Shards,
		Ends: func(int) uint64 { return uint64(in.seg.Count) }, CloseAtEnd: true, Dir: cfg.Dir + "-windows",
		Record: func(ctx context.Context, p tarn.Position) ([]byte, time.Time, error) {
			return delivery.Original(ctx, in, p)
		}})
	cfg.Transform, cfg.Positions = extract.WindowSteps(x.Window), true
	if err := drainTrial(ctx, cfg); err != nil {
		return nil, err
	}
	r, err := to.Reader(ctx, 0, stream.Cursor{})
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var out bytes.Buffer
	for {
		e, ok, err := r.Poll(ctx)
		if err != nil || !ok {
			return out.Bytes(), err
		}
		for i := range e.Batch.Segments {
			for _, rec := range e.Batch.Segments[i].Records() {
				out.Write(rec)
				out.WriteByte('\n')
			}
		}
	}
}
