package twin

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/metadb"
)

// history is the table that holds the past of a twin, and the columns it has.
type history struct {
	t       *Twin
	table   string
	columns []string
}

// past opens the history of the twin. CodeUnsupported when it has none.
func (t *Twin) past(ctx context.Context) (*history, error) {
	h := &history{t: t, table: t.spec.Load().History}
	if h.table == "" || t.s.o.Query == nil {
		return nil, &tarn.Error{Code: tarn.CodeUnsupported, Detail: "the twin " + t.name + " has no history", Hint: "name the table that holds it: history: curated.NAME in twins/" + t.name + ".yaml"}
	}
	zone, name, _ := strings.Cut(h.table, ".")
	h.table = tarn.QuoteIdent(zone) + "." + tarn.QuoteIdent(name)
	var err error
	if h.columns, _, err = t.s.o.Query(ctx, "SELECT * FROM "+h.table+" LIMIT 0", nil); err != nil {
		return nil, err
	}
	for _, c := range []string{"component", "metric", "at"} {
		if !h.has(c) {
			return nil, &tarn.Error{Code: tarn.CodeSchema, Detail: "the history of " + t.name + ", " + t.spec.Load().History + ", has no column " + c, Hint: "it needs component, metric, at, and the value"}
		}
	}
	if !slices.ContainsFunc(h.columns, func(c string) bool { return c == "value" || strings.HasPrefix(c, "value_") }) {
		return nil, &tarn.Error{Code: tarn.CodeSchema, Detail: "the history of " + t.name + ", " + t.spec.Load().History + ", has no column for the value", Hint: "it needs value, or value_number, value_text, value_boolean and value_json"}
	}
	return h, nil
}

func (h *history) has(column string) bool { return slices.Contains(h.columns, column) }

// optional are the columns that a history may have besides the required.
var optional = []string{"value", "value_number", "value_text", "value_boolean", "value_json", "type", "unit", "pipeline", "source", "stream", "shard", "record_offset"}

// selected is the list of what is read of a row.
func (h *history) selected() string {
	list := `component, metric, epoch_us("at") AS at_us`
	for _, c := range optional {
		if h.has(c) {
			list += ", " + tarn.QuoteIdent(c)
		}
	}
	return list
}

// newest orders rows so that the first is the value of the moment.
func (h *history) newest() string {
	by := `"at" DESC`
	for _, c := range []string{"stream", "shard", "record_offset"} {
		if h.has(c) {
			by += ", " + tarn.QuoteIdent(c) + " DESC"
		}
	}
	return by
}

// number is the value as a number, for down-sampling.
func (h *history) number() string {
	if h.has("value_number") {
		return "value_number"
	}
	return "TRY_CAST(value AS DOUBLE)"
}

// read runs a SELECT of selected columns.
func (h *history) read(ctx context.Context, sql string, params ...any) ([]Metric, error) {
	_, rows, err := h.t.s.o.Query(ctx, sql, params)
	if err != nil {
		return nil, err
	}
	out := make([]Metric, 0, len(rows))
	for _, r := range rows {
		m := metricOf(r)
		if m.Source == "" && m.Pipeline == "" && m.Position.Stream == "" { // the table does not say
			m.Source = h.t.spec.Load().History
		}
		if m.Unit == "" { // nor of the unit
			m.Unit = h.t.spec.Load().unit(m.Type, m.Metric)
		}
		out = append(out, m)
	}
	return out, nil
}

// metricOf makes a value of a row of the history. One without a value says that the metric was removed.
func metricOf(r map[string]any) Metric {
	u := Update{Component: text(r["component"]), Metric: text(r["metric"]), Type: text(r["type"]), Unit: text(r["unit"]), Pipeline: text(r["pipeline"]), Source: text(r["source"]),
		At: metadb.Time(integer(r["at_us"])), Value: valueOf(r)}
	u.Position = Position{text(r["stream"]), tarn.Position{Shard: int(integer(r["shard"])), Offset: uint64(max(0, integer(r["record_offset"])))}}
	e := newEntry(&u, false)
	return e.show(u.Component)
}

// valueOf finds the value among the columns of a row.
func valueOf(r map[string]any) Value {
	if s, ok := r["value_text"].(string); ok {
		return StringValue(s)
	}
	for _, c := range []string{"value_number", "value_boolean", "value"} {
		switch v := r[c].(type) {
		case json.Number:
			if f, err := v.Float64(); err == nil {
				return NumberValue(f)
			}
		case bool:
			return BooleanValue(v)
		case string:
			return StringValue(v)
		case nil:
		default:
			return documentOf(v)
		}
	}
	if v := r["value_json"]; v != nil {
		return documentOf(v)
	}
	return Value{}
}

// documentOf makes JSON of what was decoded from it; text holds JSON already.
func documentOf(v any) Value {
	if s, ok := v.(string); ok && json.Valid([]byte(s)) {
		return JSONValue([]byte(s))
	}
	b, err := json.Marshal(v)
	if err != nil {
		return Value{}
	}
	return JSONValue(b)
}

func text(v any) string {
	s, _ := v.(string)
	return s
}

func integer(v any) int64 {
	if n, ok := v.(json.Number); ok {
		i, _ := n.Int64()
		return i
	}
	return 0
}

// alive drops what was removed or had expired at a moment.
func (h *history) alive(metrics []Metric, at time.Time) []Metric {
	after := time.Time{}
	if d := h.t.spec.Load().ExpireAfter; d > 0 {
		after = at.Add(-d)
	}
	return slices.DeleteFunc(metrics, func(m Metric) bool { return m.Value.kind == Removed || !m.At.After(after) })
}

// GetAt is Get as of a moment of the past, from the history.
func (t *Twin) GetAt(ctx context.Context, k Key, at time.Time) (Metric, error) {
	h, err := t.past(ctx)
	if err != nil {
		return Metric{}, err
	}
	found, err := h.read(ctx, "SELECT "+h.selected()+" FROM "+h.table+` WHERE component = $1 AND metric = $2 AND "at" <= $3 ORDER BY `+h.newest()+" LIMIT 1", k.Component, k.Metric, at.UTC())
	if err != nil {
		return Metric{}, err
	}
	if found = h.alive(found, at); len(found) == 0 {
		return Metric{}, noMetric(k)
	}
	return found[0], nil
}

// ComponentAt is Component as of a moment of the past.
func (t *Twin) ComponentAt(ctx context.Context, id string, at time.Time) (Component, error) {
	h, err := t.past(ctx)
	if err != nil {
		return Component{}, err
	}
	found, err := h.read(ctx, "SELECT "+h.selected()+" FROM "+h.table+` WHERE component = $1 AND "at" <= $2
		QUALIFY row_number() OVER (PARTITION BY metric ORDER BY `+h.newest()+") = 1 ORDER BY metric", id, at.UTC())
	if err != nil {
		return Component{}, err
	}
	if found = h.alive(found, at); len(found) == 0 {
		return Component{}, noComponent(id)
	}
	return summarize(id, found), nil
}

// ListAt is List as of a moment of the past. Ages count from that moment.
func (t *Twin) ListAt(ctx context.Context, f Filter, at time.Time) (Page, error) {
	h, err := t.past(ctx)
	if err != nil {
		return Page{}, err
	}
	var p Page
	for scanned := 0; ; {
		ids := "SELECT DISTINCT component FROM " + h.table + ` WHERE starts_with(component, $1) AND component > $2 AND "at" <= $3 ORDER BY component LIMIT ` + fmt.Sprint(MaxLimit)
		found, err := h.read(ctx, "SELECT "+h.selected()+" FROM "+h.table+" WHERE component IN ("+ids+`) AND "at" <= $3
			QUALIFY row_number() OVER (PARTITION BY component, metric ORDER BY `+h.newest()+") = 1 ORDER BY component, metric", f.Prefix, f.After, at.UTC())
		if err != nil || len(found) == 0 {
			return p, err
		}
		scanned += len(found)
		for i := 0; i < len(found); {
			id, first := found[i].Component, i
			for i < len(found) && found[i].Component == id {
				i++
			}
			metrics := h.alive(slices.Clone(found[first:i]), at)
			if c := summarize(id, metrics); f.Type == "" || c.Type == f.Type {
				if c.Metrics = f.pick(metrics, at); len(c.Metrics) > 0 {
					p.Components = append(p.Components, c)
				}
			}
			f.After = id
			if len(p.Components) == f.limit() {
				p.Next = id
				return p, nil
			}
		}
		if scanned >= maxScanned {
			p.Next = f.After
			return p, nil
		}
	}
}

// Range selects a part of the past of a metric.
type Range struct {
	From, To time.Time     // From included, To not
	Step     time.Duration // 0 gives the values themselves, else one bucket for each step, counted from 1970
	Limit    int           // of values or buckets; default 1000, at most 10000
}

// Bucket is what a metric was within one step.
type Bucket struct {
	At                          time.Time // beginning of the step
	Count                       int64     // numbers within it
	Min, Max, Mean, First, Last float64
	Unit                        string // of the last; empty when the history does not say
}

// MaxHistory is the greatest Range.Limit.
const MaxHistory = 10_000

func (r *Range) check() error {
	switch {
	case r.From.IsZero() || r.To.IsZero() || !r.From.Before(r.To) || r.From.Before(firstTime) || r.To.After(lastTime):
		return invalid("the range from "+r.From.Format(time.RFC3339)+" to "+r.To.Format(time.RFC3339)+" holds no time", "give from before to")
	case r.Step < 0 || r.Step > 0 && r.Step < time.Millisecond:
		return invalid("the step "+r.Step.String()+" is too short", "write at least 1ms")
	}
	if r.Limit <= 0 {
		r.Limit = 1000
	}
	r.Limit = min(r.Limit, MaxHistory)
	return nil
}

// History returns the values of a metric within a range, oldest first. more says that Limit cut it off.
func (t *Twin) History(ctx context.Context, k Key, r Range) (values []Metric, more bool, err error) {
	h, err := t.past(ctx)
	if err == nil {
		err = r.check()
	}
	if err != nil {
		return nil, false, err
	}
	values, err = h.read(ctx, "SELECT "+h.selected()+" FROM "+h.table+` WHERE component = $1 AND metric = $2 AND "at" >= $3 AND "at" < $4 ORDER BY `+
		strings.ReplaceAll(h.newest(), " DESC", "")+" LIMIT "+fmt.Sprint(r.Limit+1), k.Component, k.Metric, r.From.UTC(), r.To.UTC())
	if len(values) > r.Limit {
		return values[:r.Limit], true, err
	}
	return values, false, err
}

// Buckets returns the numbers of a metric within a range, one bucket for each step that has some.
func (t *Twin) Buckets(ctx context.Context, k Key, r Range) (buckets []Bucket, more bool, err error) {
	h, err := t.past(ctx)
	if err == nil {
		err = r.check()
	}
	if err != nil {
		return nil, false, err
	}
	step := fmt.Sprint(r.Step.Microseconds())
	us, unit := `epoch_us("at")`, "NULL::VARCHAR"
	if h.has("unit") {
		unit = "unit"
	}
	sql := "SELECT " + us + " - ((" + us + " % " + step + ") + " + step + ") % " + step + ` AS at_us, count(*) AS n, min(v) AS least, max(v) AS most, avg(v) AS mean, arg_min(v, "at") AS first, arg_max(v, "at") AS last, arg_max(u, "at") AS unit
		FROM (SELECT "at", ` + h.number() + " AS v, " + unit + " AS u FROM " + h.table + ` WHERE component = $1 AND metric = $2 AND "at" >= $3 AND "at" < $4) WHERE v IS NOT NULL
		GROUP BY 1 ORDER BY 1 LIMIT ` + fmt.Sprint(r.Limit+1)
	_, rows, err := t.s.o.Query(ctx, sql, []any{k.Component, k.Metric, r.From.UTC(), r.To.UTC()})
	if err != nil {
		return nil, false, err
	}
	for _, row := range rows {
		buckets = append(buckets, Bucket{At: metadb.Time(integer(row["at_us"])), Count: integer(row["n"]), Min: float(row["least"]), Max: float(row["most"]),
			Mean: float(row["mean"]), First: float(row["first"]), Last: float(row["last"]), Unit: cmp.Or(text(row["unit"]), t.spec.Load().unit("", k.Metric))})
	}
	if len(buckets) > r.Limit {
		return buckets[:r.Limit], true, nil
	}
	return buckets, false, nil
}

func float(v any) float64 {
	if n, ok := v.(json.Number); ok {
		if f, err := n.Float64(); err == nil {
			return f
		}
	}
	return math.NaN()
}
