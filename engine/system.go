package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/table"
)

// system gives the SQL service the tables of the schema system.
type system struct{ e *Engine }

// systemTable is one of them: its columns and how its rows are made.
type systemTable struct {
	schema tarn.Schema
	rows   func(context.Context, *Engine) ([][]any, error)
}

func columns(fields ...tarn.Field) tarn.Schema { return tarn.Schema{Fields: fields} }

func col(name string, k tarn.Kind) tarn.Field {
	return tarn.Field{Name: name, Type: tarn.Type{Kind: k}}
}

// systemTables lists them by name.
func systemTables() map[string]systemTable {
	const s, l, b, ts, js = tarn.String, tarn.Long, tarn.Boolean, tarn.Timestamp, tarn.JSON
	return map[string]systemTable{
		"tables": {columns(col("name", s), col("uuid", s), col("location", s), col("metadata_location", s), col("partition_by", s),
			col("snapshot_id", l), col("rows", l), col("tail_rows", l), col("files", l), col("bytes", l), col("updated_at", ts), col("kind", s)), tableRows},
		"columns": {columns(col("table_name", s), col("position", l), col("field_id", l), col("name", s), col("type", s), col("required", b), col("doc", s)), columnRows},
		"snapshots": {columns(col("table_name", s), col("snapshot_id", l), col("parent_id", l), col("sequence", l), col("committed_at", ts),
			col("operation", s), col("summary", js)), snapshotRows},
		"files": {columns(col("table_name", s), col("path", s), col("rows", l), col("bytes", l), col("partition", js)), fileRows},
		"external_files": {columns(col("table_name", s), col("path", s), col("format", s), col("rows", l), col("bytes", l), col("modified_at", ts), col("partition", js),
			col("schema_version", l), col("missing_since", ts), col("crawler", s)), externalFileRows},
		"schema_versions": {columns(col("table_name", s), col("version", l), col("created_at", ts), col("reason", s), col("columns", js)), schemaVersionRows},
		"streams": {columns(col("name", s), col("shard", l), col("first_offset", l), col("next_offset", l), col("records", l), col("bytes", l),
			col("oldest", ts), col("newest", ts)), streamRows},
		"pipelines": {columns(col("name", s), col("owner", s), col("description", s), col("stream", s), col("table_name", s), col("state", s),
			col("records", l), col("rows", l), col("failed", l), col("lag_records", l), col("tail_rows", l), col("last_commit", ts), col("last_error", s)), pipelineRows},
		"runs": {columns(col("pipeline", s), col("run", l), col("function", s), col("slot", ts), col("state", s), col("attempts", l), col("records", l),
			col("rejected", l), col("rejects", js), col("code", s), col("error", s), col("started_at", ts), col("finished_at", ts)), runRows},
		"taken_files": {columns(col("pipeline", s), col("file", s), col("hash", s), col("algorithm", s), col("take", l), col("size", l), col("format", s), col("accepted", l),
			col("rejected", l), col("state", s), col("code", s), col("error", s), col("modified_at", ts), col("taken_at", ts), col("finished_at", ts),
			col("original", s)), takenRows},
		"failed_records": {columns(col("id", l), col("pipeline", s), col("table_name", s), col("delivery", s), col("stream", s), col("position", s), col("stage", s),
			col("code", s), col("reason", s), col("attempts", l), col("arrival", ts), col("failed_at", ts), col("record", s), col("record_bytes", l)), failedRows},
	}
}

// Names implements query.SystemTables.
func (s system) Names() []string {
	var names []string
	for n := range systemTables() {
		names = append(names, n)
	}
	sort.Strings(names)
	return names
}

// Rows implements query.SystemTables.
func (s system) Rows(ctx context.Context, name string) (tarn.Schema, [][]any, error) {
	t, ok := systemTables()[name]
	if !ok {
		return tarn.Schema{}, nil, &tarn.Error{Code: tarn.CodeNotFound, Detail: "there is no table system." + name}
	}
	rows, err := t.rows(ctx, s.e)
	return t.schema, rows, err
}

// eachState calls f with every table.
func eachState(ctx context.Context, e *Engine, f func(*table.State) error) error {
	names, err := e.store.Names(ctx)
	if err != nil {
		return err
	}
	for _, n := range names {
		st, err := e.state(ctx, n)
		if err != nil {
			return err
		}
		if st == nil {
			continue
		}
		if err := f(st); err != nil {
			return err
		}
	}
	return nil
}

func tableRows(ctx context.Context, e *Engine) (rows [][]any, err error) {
	err = eachState(ctx, e, func(st *table.State) error {
		d := e.tableDoc(st)
		rows = append(rows, []any{st.Name, st.UUID, st.Location, st.MetadataLocation, strings.Join(d.Partition, ", "),
			orNull(st.SnapshotID), st.Rows, d.TailRows, st.Files, st.Bytes, st.UpdatedAt, d.Kind})
		return nil
	})
	if err != nil {
		return nil, err
	}
	passed, err := cleanedTableRows(ctx, e)
	if err != nil {
		return nil, err
	}
	twins, err := twinTableRows(ctx, e)
	if err != nil {
		return nil, err
	}
	external, err := externalTableRows(ctx, e)
	return slices.Concat(rows, passed, twins, external), err
}

func columnRows(ctx context.Context, e *Engine) (rows [][]any, err error) {
	err = eachState(ctx, e, func(st *table.State) error {
		for i, f := range st.Schema.Fields {
			rows = append(rows, []any{st.Name, i + 1, f.ID, f.Name, f.Type.SQL(), f.Required, f.Doc})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	passed, err := cleanedColumnRows(ctx, e)
	if err != nil {
		return nil, err
	}
	external, err := externalColumnRows(ctx, e)
	return slices.Concat(rows, passed, twinColumnRows(e), external), err
}

func snapshotRows(ctx context.Context, e *Engine) (rows [][]any, err error) {
	err = eachState(ctx, e, func(st *table.State) error {
		for _, s := range slices.Backward(st.Snapshots()) {
			rows = append(rows, []any{st.Name, s.ID, orNull(s.ParentID), s.Sequence, s.Time, s.Operation, s.Summary})
		}
		return nil
	})
	return rows, err
}

func fileRows(ctx context.Context, e *Engine) (rows [][]any, err error) {
	err = eachState(ctx, e, func(st *table.State) error {
		files, err := e.store.Files(ctx, st)
		if err != nil {
			return err
		}
		for _, f := range files {
			part := map[string]any{}
			for i, p := range st.Partition {
				if i < len(f.Partition) {
					part[p.Name()] = f.Partition[i]
				}
			}
			doc, err := json.Marshal(part)
			if err != nil {
				return err
			}
			rows = append(rows, []any{st.Name, f.Path, f.Rows, f.Bytes, json.RawMessage(doc)})
		}
		return nil
	})
	return rows, err
}

func streamRows(ctx context.Context, e *Engine) ([][]any, error) {
	var rows [][]any
	for _, p := range e.pipes() {
		for i := range p.stream.Shards() {
			st, err := p.stream.State(ctx, i)
			if err != nil {
				return nil, err
			}
			rows = append(rows, []any{p.stream.Name(), i, st.First, st.Next, st.Next - st.First, st.Bytes, timeOrNull(st.FirstTime), timeOrNull(st.LastTime)})
		}
	}
	return rows, nil
}

func pipelineRows(ctx context.Context, e *Engine) ([][]any, error) {
	docs, err := e.Pipelines(ctx)
	if err != nil {
		return nil, err
	}
	var rows [][]any
	for _, p := range docs {
		for _, d := range p.Deliveries {
			var last any
			if d.LastCommit != nil {
				last = *d.LastCommit
			}
			rows = append(rows, []any{p.Name, p.Owner, p.Description, p.Stream, d.Table, d.State, d.Records, d.Rows, d.Failed,
				d.LagRecords, d.TailRows, last, d.LastError})
		}
	}
	return rows, nil
}

// What one query reads of the failed records (I8). Beyond the bytes, records are NULL; record_bytes
// says that there is one. They come out of the database in pages.
const (
	maxFailedRows  = 100_000
	maxFailedBytes = 32 << 20
	failedPage     = 64
)

// failedRows fails rather than leave out rows, which would make every count wrong.
func failedRows(ctx context.Context, e *Engine) ([][]any, error) {
	n, err := e.store.CountFailed(ctx, table.FailedFilter{})
	if err != nil {
		return nil, err
	}
	if n > maxFailedRows {
		return nil, &tarn.Error{Code: tarn.CodeTooLarge,
			Detail: fmt.Sprintf("there are %d failed records; system.failed_records shows at most %d", n, maxFailedRows),
			Hint:   "tarn failed ls --after ID lists them page by page; system.pipelines counts them"}
	}
	rows, left, now := make([][]any, 0, n), maxFailedBytes, e.running.Load()
	var last int64
	for {
		recs, err := e.store.FailedRecords(ctx, table.FailedFilter{After: last, Limit: failedPage})
		if err != nil || len(recs) == 0 {
			return rows, err
		}
		for _, r := range recs {
			var record any
			if len(r.Record) <= left {
				record, left = string(r.Record), left-len(r.Record)
			}
			rows = append(rows, []any{r.ID, r.Pipeline, r.Table, now.deliveryKind(r.Table), r.Stream, tarn.Position{Shard: r.Shard, Offset: r.Offset}.String(), r.Stage, string(r.Code), r.Reason,
				r.Attempts, r.Arrival, r.FailedAt, record, len(r.Record)})
			last = r.ID
		}
	}
}

func orNull(id int64) any {
	if id == 0 {
		return nil
	}
	return id
}

func timeOrNull(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t
}
