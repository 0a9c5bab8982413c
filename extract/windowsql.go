package extract

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/delivery"
	"github.com/tarn-data/tarn/duck"
)

// The columns of windows, which the SQL groups by. Times inside are microseconds since 1970.
const (
	startColumn    = "window_start"
	endColumn      = "window_end"
	revisionColumn = "window_revision" // 0, and more each time a window is delivered again
	timeColumn     = "__us"            // the time of a record, which WindowSteps adds
)

// floor is the SQL of the greatest multiple of a step that is not over an expression.
func floorSQL(expr string, step int64) string {
	return fmt.Sprintf("(%[1]s - (((%[1]s %% %[2]d) + %[2]d) %% %[2]d))", expr, step)
}

func floorTo(t, step int64) int64 { return t - ((t%step)+step)%step }

// starts is the SQL of the starts of the windows that the time __us is in, as a list.
func (s *WindowSink) starts() string {
	size, every := s.o.Window.Size.Microseconds(), s.o.Window.Every.Microseconds()
	if size == every {
		return "[" + floorSQL("__us", every) + "]"
	}
	return fmt.Sprintf("generate_series(%s + %d, %s, %d)", floorSQL(fmt.Sprintf("(__us - %d)", size), every), every, floorSQL("__us", every), every)
}

// reopened returns the starts of delivered windows that records of new segments are in.
func (r *round) reopened(ctx context.Context, news []segment) ([]int64, error) {
	rows, err := r.db.Values(ctx, fmt.Sprintf("SELECT DISTINCT s FROM (SELECT unnest(%s) AS s FROM %s WHERE __us < %d) WHERE s + %d <= %d ORDER BY 1",
		r.starts(), r.rows(news), r.state.Closed, r.o.Window.Size.Microseconds(), r.state.Closed))
	if err != nil {
		return nil, err
	}
	var out []int64
	for _, row := range rows {
		out = append(out, row[0].(int64))
	}
	return out, nil
}

// mayClose reports whether some window may end after those closed and up to a time.
func (r *round) mayClose(to int64) bool {
	if r.affected != nil {
		return true
	}
	if r.o.Window.Gap > 0 {
		return r.due <= to
	}
	size, every := r.o.Window.Size.Microseconds(), r.o.Window.Every.Microseconds()
	endAfter := func(t int64) int64 { return floorTo(t-size, every) + every + size }
	return slices.ContainsFunc(r.state.Segments, func(g segment) bool {
		first := max(endAfter(g.Min), endAfter(r.state.Closed))
		return first <= to && first-size <= g.Max
	})
}

// rows is the SELECT of all records that are kept, with the columns of the newest batch.
func (r *round) rows(segments []segment) string {
	var files []string
	for _, g := range segments {
		files = append(files, tarn.QuoteLiteral(r.StreamSink.o.State.URL(g.Key)))
	}
	return "read_parquet([" + strings.Join(files, ", ") + "], union_by_name=true, hive_partitioning=false)"
}

// windows is the SELECT of records with their windows, __start and __end, of those that end after from
// and up to a time, and of those affected.
func (r *round) windows(from, to int64) string {
	w := r.o.Window
	if w.Gap > 0 {
		return fmt.Sprintf("SELECT * FROM (%s) WHERE __end > %d AND __end <= %d", r.sessions(), from, to)
	}
	size := w.Size.Microseconds()
	which, reach := fmt.Sprintf("__end > %d AND __end <= %d", from, to), fmt.Sprintf("__us < %d AND __us >= %d", to, max(from, noTime+size)-size)
	if r.affected != nil {
		var list []string
		for _, s := range r.affected {
			list = append(list, fmt.Sprint(s))
		}
		which, reach = which+" OR __start IN ("+strings.Join(list, ", ")+")", "true"
	}
	return fmt.Sprintf("SELECT *, __start + %d AS __end FROM (SELECT *, unnest(%s) AS __start FROM %s WHERE %s) WHERE %s", size, r.starts(), r.rows(r.reached(max(from, noTime+size)-size, to)), reach, which)
}

// reached returns the segments with records from a time up to another, and one of this batch, which has all
// columns: opening the others costs more than reading these.
func (r *round) reached(from, to int64) []segment {
	if r.affected != nil || r.news == 0 || r.retry != nil {
		return r.state.Segments
	}
	old := len(r.state.Segments) - r.news
	var out []segment
	for i, g := range r.state.Segments {
		if i == old || g.Min < to && g.Max >= from {
			out = append(out, g)
		}
	}
	return out
}

// sessions is the SELECT of all records with their sessions.
func (r *round) sessions() string {
	gap := r.o.Window.Gap.Microseconds()
	key := ""
	for _, k := range r.o.Window.Key {
		key += tarn.QuoteIdent(k) + ", "
	}
	by := strings.TrimSuffix(key, ", ")
	over := "ORDER BY __us, record_shard, record_offset" // a total order: both functions below must see the same
	if by != "" {
		over = "PARTITION BY " + by + " " + over
	}
	return fmt.Sprintf("SELECT *, min(__us) OVER (PARTITION BY %[1]s__session) AS __start, max(__us) OVER (PARTITION BY %[1]s__session) + %[2]d AS __end FROM ("+
		"SELECT *, sum(__first) OVER (%[3]s ROWS UNBOUNDED PRECEDING) AS __session FROM ("+
		"SELECT *, CASE WHEN __us - lag(__us) OVER (%[3]s) < %[2]d THEN 0 ELSE 1 END AS __first FROM %[4]s))", key, gap, over, r.rows(r.state.Segments))
}

// lookAhead finds out when the next session may end, and how many records are in open ones.
func (r *round) lookAhead(ctx context.Context, to int64) error {
	v, err := r.db.Values(ctx, fmt.Sprintf("SELECT coalesce(min(__end), %d), count(*) FROM (%s) WHERE __end > %d", lastTime, r.sessions(), to))
	if err != nil {
		return err
	}
	r.due = v[0][0].(int64)
	r.live = v[0][1].(int64)
	return nil
}

// maxMissing bounds how many columns without a record the SQL may name.
const maxMissing = 64

// bound returns the statement over the windows to deliver, and its columns. A column that no record has
// had yet is NULL.
func (r *round) bound(ctx context.Context, to int64, look *delivery.Lookups) (string, []tarn.Field, error) {
	var missing []string
	for {
		sql := r.statement(to, missing, look)
		cols, err := r.db.Columns(ctx, sql)
		if err == nil {
			var fields []tarn.Field
			for _, c := range cols {
				fields = append(fields, tarn.Field{Name: c.Name, Type: c.Type})
			}
			return sql, fields, nil
		}
		name := delivery.MissingColumn(err)
		if name == "" || slices.Contains(missing, name) || len(missing) == maxMissing {
			return "", nil, transformError(err)
		}
		missing = append(missing, name)
	}
}

// statement is the SQL of the extract over the windows to deliver.
func (r *round) statement(to int64, missing []string, look *delivery.Lookups) string {
	var list []string
	for _, f := range r.columns {
		switch name := tarn.QuoteIdent(f.Name); {
		case f.Name == timeColumn:
		case isPosition(f.Name) && !r.o.Query.Positions && !strings.EqualFold(f.Name, r.o.Window.Time):
		case f.Type.Kind == tarn.JSON:
			list = append(list, "CAST("+name+" AS JSON) AS "+name)
		default:
			list = append(list, "CAST("+name+" AS "+f.Type.SQL()+") AS "+name)
		}
	}
	for _, m := range missing {
		list = append(list, "NULL AS "+tarn.QuoteIdent(m))
	}
	list = append(list, "make_timestamp(__start) AS "+startColumn, "make_timestamp(__end) AS "+endColumn,
		fmt.Sprintf("CASE WHEN __end > %d THEN 0 ELSE %d END::BIGINT AS %s", r.state.Closed, r.state.Revision, revisionColumn))
	with := records + " AS (SELECT " + strings.Join(list, ", ") + " FROM (" + r.windows(r.state.Closed, to) + ") ORDER BY __us, record_shard, record_offset)"
	if look != nil && look.With != "" {
		with += ", " + look.With
	}
	return "WITH " + with + "\nSELECT * FROM (" + r.o.Query.SQL + "\n)"
}

func isPosition(name string) bool {
	return name == delivery.ShardColumn || name == delivery.OffsetColumn || name == delivery.ArrivalColumn
}

// transformError is an error of the SQL as people see it.
func transformError(err error) error {
	if f := duck.FaultOf(err); f != nil && tarn.CodeOf(err) == tarn.CodeInvalid {
		text, _, _ := strings.Cut(duck.Brief(f.Message), "\n")
		return &tarn.Error{Code: tarn.CodeInvalid, Detail: "the SQL does not fit the records: " + text, Hint: "mend the SQL of the extract"}
	}
	return err
}
