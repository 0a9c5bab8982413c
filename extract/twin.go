package extract

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/delivery"
	"github.com/tarn-data/tarn/duck"
	"github.com/tarn-data/tarn/table"
	"github.com/tarn-data/tarn/twin"
)

// TwinOptions say which twin rows go to. Fields without a default are required.
type TwinOptions struct {
	Delivery string                     // name that progress is kept under
	Extract  string                     // what the twin says brought a value
	Stream   string                     // where the rows' positions are
	Source   string                     // what the twin says a value came from, where a row does not; default Stream
	Twin     func() (*twin.Twin, error) // the twin as it is now
	Store    delivery.SinkStore         // keeps progress and failed records
	// Record returns the bytes of a record and when it was accepted, for a failed record. Default: it has none.
	Record func(ctx context.Context, p tarn.Position) (rec []byte, arrival time.Time, err error)
	Logger *slog.Logger // default discards
}

// TwinSink writes rows into a twin. The twin takes an update once, however often it is applied, and
// the newest of a metric wins in whatever order they come; so updates are applied before the progress
// that covers them is recorded, and applied again after a crash in between, to the same end.
type TwinSink struct {
	o      TwinOptions
	fields []tarn.Field
	settle settle

	mu      sync.Mutex
	refused string // why the last row was, for people
}

// NewTwinSink returns a sink that has done nothing yet.
func NewTwinSink(o TwinOptions) *TwinSink {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	o.Source = cmp.Or(o.Source, o.Stream)
	return &TwinSink{o: o}
}

// Begin implements delivery.Sink.
func (s *TwinSink) Begin(ctx context.Context) (map[string][]byte, []table.ProgressRow, error) {
	docs, err := s.o.Store.Documents(ctx, s.o.Delivery)
	if err != nil {
		return nil, nil, err
	}
	if s.settle == nil {
		if err := s.compare(ctx, docs); err != nil {
			return nil, nil, err
		}
	}
	rows, err := s.o.Store.Progress(ctx, s.o.Delivery)
	return docs, rows, err
}

// End implements delivery.Sink.
func (s *TwinSink) End() {}

// The columns of rows for a twin, and the types they are given.
var twinColumns = []struct {
	name     string
	kind     tarn.Kind // Invalid for value, whose type says what it is
	required bool
}{
	{"component", tarn.String, true}, {"metric", tarn.String, true}, {"value", tarn.Invalid, true}, {"at", tarn.Timestamp, true},
	{"type", tarn.String, false}, {"unit", tarn.String, false}, {"source", tarn.String, false}, {delivery.ShardColumn, tarn.Int, false}, {delivery.OffsetColumn, tarn.Long, false},
}

// Columns implements delivery.Sink. CodeInvalid when a column is missing.
func (s *TwinSink) Columns(_ context.Context, fields []tarn.Field) ([]tarn.Field, error) {
	var taken []tarn.Field
	var missing []string
	for _, c := range twinColumns {
		i := slices.IndexFunc(fields, func(f tarn.Field) bool { return strings.EqualFold(f.Name, c.name) })
		switch {
		case i >= 0 && c.kind != tarn.Invalid:
			taken = append(taken, tarn.Field{Name: c.name, Type: tarn.Type{Kind: c.kind}})
		case i >= 0:
			taken = append(taken, tarn.Field{Name: c.name, Type: valueType(fields[i].Type)})
		case c.required:
			missing = append(missing, c.name)
		}
	}
	if missing != nil {
		var have []string
		for _, f := range fields {
			have = append(have, f.Name)
		}
		return nil, &tarn.Error{Code: tarn.CodeInvalid, Detail: "rows for a twin need the column " + strings.Join(missing, " and "),
			Hint: "the SQL gives " + strings.Join(have, ", ") + "; name columns with AS"}
	}
	s.fields = taken
	return taken, nil
}

// valueType is how a value travels: numbers as such, what is nested as JSON, the rest as text.
func valueType(t tarn.Type) tarn.Type {
	switch t.Kind {
	case tarn.Boolean, tarn.JSON:
		return t
	case tarn.Int, tarn.Long, tarn.Float, tarn.Double, tarn.Decimal:
		return tarn.Type{Kind: tarn.Double}
	case tarn.Struct, tarn.List, tarn.Map:
		return tarn.Type{Kind: tarn.JSON}
	}
	return tarn.Type{Kind: tarn.String}
}

// Lines implements delivery.Sink.
func (s *TwinSink) Lines() string { return "" }

// updatesAtOnce bounds the updates in memory (I8).
const updatesAtOnce = 16 << 10

// Commit implements delivery.Sink.
func (s *TwinSink) Commit(ctx context.Context, rows delivery.SinkRows, c table.Commit) error {
	failed := failures{commit: &c}
	if rows.Count > 0 {
		if err := s.apply(ctx, rows, &failed); err != nil {
			return err
		}
	}
	c, err := s.settle.of(c)
	if err != nil {
		return err
	}
	if c, err = s.marked(c); err != nil {
		return err
	}
	return s.o.Store.Record(ctx, s.o.Delivery, c, nil)
}

// apply brings all rows into the twin.
func (s *TwinSink) apply(ctx context.Context, rows delivery.SinkRows, failed *failures) error {
	t, err := s.o.Twin()
	if err != nil {
		return err
	}
	var names []string
	for _, f := range s.fields {
		names = append(names, tarn.QuoteIdent(f.Name))
	}
	res, err := rows.DB.Query(ctx, "SELECT "+strings.Join(names, ", ")+" FROM "+duck.ReadPlainParquet(rows.Files))
	if err != nil {
		return err
	}
	defer res.Close()
	var batch []twin.Update
	flush := func() error {
		err := s.write(ctx, t, batch, failed)
		batch = batch[:0]
		return err
	}
	for res.Next(ctx) {
		for i := range int(res.Batch().NumRows()) {
			u, ok, err := s.update(res.Row(i))
			if err != nil {
				return err
			}
			if ok {
				batch = append(batch, u)
			}
		}
		if len(batch) >= updatesAtOnce {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	if err := res.Err(); err != nil {
		return err
	}
	return flush()
}

// update makes an update of a row; false when it has no value.
func (s *TwinSink) update(row []any) (u twin.Update, ok bool, err error) {
	u.Pipeline, u.Source = s.o.Extract, s.o.Source
	for i, f := range s.fields {
		v := row[i]
		switch f.Name {
		case "component":
			u.Component, _ = v.(string)
		case "metric":
			u.Metric, _ = v.(string)
		case "at":
			u.At, _ = v.(time.Time)
		case "type":
			u.Type, _ = v.(string)
		case "unit":
			u.Unit, _ = v.(string)
		case "source":
			if source, _ := v.(string); source != "" {
				u.Source = source
			}
		case delivery.ShardColumn:
			n, _ := v.(int64)
			u.Position.Stream, u.Position.Shard = s.o.Stream, int(n)
		case delivery.OffsetColumn:
			n, _ := v.(int64)
			u.Position.Offset = uint64(n)
		case "value":
			if u.Value, ok, err = valueOf(f.Type.Kind, v); err != nil {
				return u, false, err
			}
		}
	}
	return u, ok, nil
}

// valueOf is a value of a row; false for NULL.
func valueOf(kind tarn.Kind, v any) (twin.Value, bool, error) {
	switch v := v.(type) {
	case nil:
		return twin.Value{}, false, nil
	case bool:
		return twin.BooleanValue(v), true, nil
	case float64:
		return twin.NumberValue(v), true, nil
	case string:
		if kind != tarn.JSON {
			return twin.StringValue(v), true, nil
		}
		if strings.TrimSpace(v) == "null" {
			return twin.Value{}, false, nil
		}
		value, err := twin.ParseValue([]byte(v))
		if err != nil { // a number out of range is kept as it was written
			value = twin.StringValue(v)
		}
		return value, true, nil
	}
	return twin.Value{}, false, fmt.Errorf("a %T as the value of a metric", v)
}

// write applies updates. Those the twin refuses fail their records, where it is known which they are.
func (s *TwinSink) write(ctx context.Context, t *twin.Twin, batch []twin.Update, failed *failures) error {
	if len(batch) == 0 {
		return nil
	}
	res, err := t.Apply(ctx, twin.Batch{Updates: batch})
	if err != nil {
		return err
	}
	for _, r := range res.Rejected {
		u := &batch[r.Index]
		why := reason(r.Err)
		s.refuse(why)
		if u.Position.Stream == "" {
			continue
		}
		var rec []byte
		var arrival time.Time
		if s.o.Record != nil {
			if rec, arrival, err = s.o.Record(ctx, u.Position.Position); err != nil {
				s.o.Logger.Debug("a record whose row was refused cannot be read again", "position", u.Position, "error", err)
			}
		}
		failed.add(table.FailedRecord{Pipeline: s.o.Extract, Table: s.o.Delivery, Stream: s.o.Stream, Shard: u.Position.Shard, Offset: u.Position.Offset, Stage: "twin",
			Reason: why, Code: tarn.CodeOf(r.Err), Attempts: 1, Arrival: arrival, FailedAt: time.Now().UTC(), Record: rec})
	}
	return nil
}

// refuse notes why a row was refused.
func (s *TwinSink) refuse(why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refused != why {
		s.o.Logger.Warn("the twin refuses a row", "because", why)
	}
	s.refused = why
}

// Warning says why the twin refused a row last, "" when it took all.
func (s *TwinSink) Warning() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refused == "" {
		return ""
	}
	return "rows were refused by the twin: " + s.refused
}
