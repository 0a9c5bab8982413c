package engine

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/duck"
	"github.com/tarn-data/tarn/query"
	"github.com/tarn-data/tarn/twin"
)

// twinFresh is how old what a statement sees of a twin may be, when the twin changes all the time:
// statements within that time share one copy.
const twinFresh = 500 * time.Millisecond

// twinCopies are the twins as Parquet files in the staging folder, made when a statement asks.
type twinCopies struct {
	one    sync.Mutex // one copy is made at a time
	mu     sync.Mutex
	made   int
	latest map[string]*twinCopy
}

// twinCopy is a twin at a version. Its file goes when a newer one has taken its place and nobody
// reads it any more.
type twinCopy struct {
	path    string
	rows    int64
	version int64
	spec    *twin.Spec // that says what is shown
	at      time.Time  // before it was begun
	readers int
	old     bool
}

// storedTwin are the columns of a copy. JSON is text in it, because DuckDB takes the JSON that it reads
// apart more strictly than the JSON that it keeps.
func storedTwin() tarn.Schema {
	var s tarn.Schema
	for i, f := range []tarn.Field{col("component", tarn.String), col("type", tarn.String), col("metric", tarn.String), col("value_number", tarn.Double), col("value_text", tarn.String),
		col("value_boolean", tarn.Boolean), col("value_json", tarn.String), col("unit", tarn.String), col("at", tarn.Timestamp), col("unknown", tarn.Boolean), col("pipeline", tarn.String),
		col("source", tarn.String), col("stream", tarn.String), col("shard", tarn.Int), col("record_offset", tarn.Long)} {
		f.ID = i + 1
		s.Fields = append(s.Fields, f)
	}
	return s
}

// twinColumns are those that statements see.
func twinColumns() tarn.Schema {
	s := storedTwin()
	for i := range s.Fields {
		if s.Fields[i].Name == "value_json" {
			s.Fields[i].Type.Kind = tarn.JSON
		}
	}
	s.Fields = append(s.Fields, tarn.Field{ID: len(s.Fields) + 1, Name: "age_seconds", Type: tarn.Type{Kind: tarn.Double}})
	return s
}

// twinTable finds the twin of a table name, nil when it is none.
func (e *Engine) twinTable(name string) *twin.Twin {
	short, ok := strings.CutPrefix(name, twinSchema)
	if !ok {
		return nil
	}
	t, err := e.twins.Twin(short)
	if err != nil {
		return nil
	}
	return t
}

// acquireTwin fixes a twin for a statement.
func (e *Engine) acquireTwin(ctx context.Context, t *twin.Twin, at *query.AsOf) (*query.View, error) {
	if at != nil {
		hint := "leave AT out"
		if h := t.Spec().History; h != "" {
			hint = "read " + h + " WHERE at <= …"
		}
		return nil, &tarn.Error{Code: tarn.CodeUnsupported, Detail: twinSchema + t.Name() + " is as it is now", Hint: hint}
	}
	c, err := e.copyTwin(ctx, t)
	if err != nil {
		return nil, err
	}
	now := time.Now().UTC()
	view := &query.View{Schema: twinColumns(), Files: []query.File{{URL: c.path, Rows: c.rows}}}
	view.Read = func(_ context.Context, files []query.File) (string, error) {
		if len(files) == 0 {
			return duck.Empty(view.Schema), nil
		}
		moment := func(t time.Time) string { return "TIMESTAMP '" + t.Format("2006-01-02 15:04:05.999999") + "'" }
		where := ""
		if d := t.Spec().ExpireAfter; d > 0 {
			where = ` WHERE "at" > ` + moment(now.Add(-d))
		}
		return "(SELECT * REPLACE (TRY_CAST(value_json AS JSON) AS value_json), date_diff('millisecond', \"at\", " + moment(now) + ") / 1000.0::DOUBLE AS age_seconds FROM " + duck.ReadParquet([]string{c.path}, storedTwin()) + where + ")", nil
	}
	view.Release = func() { e.twinCopies.release(c) }
	return view, nil
}

// copyTwin returns a copy that is new enough, with one reader more.
func (e *Engine) copyTwin(ctx context.Context, t *twin.Twin) (*twinCopy, error) {
	s := &e.twinCopies
	if c := s.take(t); c != nil {
		return c, nil
	}
	s.one.Lock()
	defer s.one.Unlock()
	if c := s.take(t); c != nil { // somebody else made it
		return c, nil
	}
	if err := os.MkdirAll(e.path("staging", "twin"), 0o755); err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.made++
	name := e.path("staging", "twin", fmt.Sprintf("%s-%d", t.Name(), s.made))
	s.mu.Unlock()
	c := &twinCopy{path: name + ".parquet", version: t.Status().Version, spec: t.Spec(), at: time.Now(), readers: 1}
	if err := writeTwin(ctx, t, name+".json"); err != nil {
		return nil, err
	}
	defer os.Remove(name + ".json")
	files, err := e.convert.Copy(ctx, "SELECT * FROM "+duck.ReadNDJSON([]string{name + ".json"}, storedTwin(), 4*twin.MaxValueBytes), duck.CopyOptions{Path: c.path, FieldIDs: storedTwin()})
	if err != nil {
		_ = os.Remove(c.path)
		return nil, err
	}
	c.rows = files[0].Rows
	s.replace(t.Name(), c)
	return c, nil
}

// take returns the latest copy when it is new enough.
func (s *twinCopies) take(t *twin.Twin) *twinCopy {
	version := t.Status().Version
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.latest[t.Name()]
	if c == nil || c.spec != t.Spec() || c.version != version && time.Since(c.at) > twinFresh {
		return nil
	}
	c.readers++
	return c
}

func (s *twinCopies) replace(name string, c *twinCopy) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.latest == nil {
		s.latest = map[string]*twinCopy{}
	}
	if was := s.latest[name]; was != nil {
		was.old = true
		was.dropUnread()
	}
	s.latest[name] = c
}

func (s *twinCopies) release(c *twinCopy) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.readers--
	c.dropUnread()
}

func (c *twinCopy) dropUnread() {
	if c.old && c.readers == 0 {
		_ = os.Remove(c.path) // staging is emptied at the next start
	}
}

// twinRow is one line of what DuckDB reads.
type twinRow struct {
	Component    string   `json:"component"`
	Type         string   `json:"type,omitempty"`
	Metric       string   `json:"metric"`
	ValueNumber  *float64 `json:"value_number,omitempty"`
	ValueText    *string  `json:"value_text,omitempty"`
	ValueBoolean *bool    `json:"value_boolean,omitempty"`
	ValueJSON    *string  `json:"value_json,omitempty"`
	Unit         string   `json:"unit,omitempty"`
	At           string   `json:"at"`
	Unknown      bool     `json:"unknown"`
	Pipeline     string   `json:"pipeline,omitempty"`
	Source       string   `json:"source,omitempty"`
	Stream       string   `json:"stream,omitempty"`
	Shard        *int     `json:"shard,omitempty"`
	Offset       *uint64  `json:"record_offset,omitempty"`
}

func newTwinRow(m *twin.Metric) twinRow {
	r := twinRow{Component: m.Component, Type: m.Type, Metric: m.Metric, Unit: m.Unit, At: m.At.Format("2006-01-02 15:04:05.999999"), Unknown: m.Unknown,
		Pipeline: m.Pipeline, Source: m.Source, Stream: m.Position.Stream}
	if m.Position.Stream != "" {
		r.Shard, r.Offset = &m.Position.Shard, &m.Position.Offset
	}
	switch v := m.Value; v.Kind() {
	case twin.Number:
		f := v.Number()
		r.ValueNumber = &f
	case twin.String:
		s := v.Text()
		r.ValueText = &s
	case twin.JSON:
		s := v.Text()
		r.ValueJSON = &s
	case twin.Boolean:
		b := v.Boolean()
		r.ValueBoolean = &b
	}
	return r
}

// writeTwin writes a twin as NDJSON.
func writeTwin(ctx context.Context, t *twin.Twin, name string) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer f.Close()
	b := bufio.NewWriterSize(f, 256<<10)
	enc := json.NewEncoder(b)
	enc.SetEscapeHTML(false)
	err = t.Scan(ctx, func(c twin.Component) error {
		for i := range c.Metrics {
			if err := enc.Encode(newTwinRow(&c.Metrics[i])); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := b.Flush(); err != nil {
		return err
	}
	return f.Close()
}
