package query

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/duck"
)

// acquire fixes every table of the statement, each once per moment it is read at.
func (r *run) acquire(ctx context.Context, conn *duck.Conn, st *statement, params []string) error {
	if len(st.refs) == 0 {
		return nil
	}
	names, err := r.s.names(ctx)
	if err != nil {
		return err
	}
	same := map[string]int{}
	for _, ref := range st.refs {
		v := view{}
		if v.target, err = names.resolve(st.sql, ref); err != nil {
			return err
		}
		if v.at, err = r.moment(ctx, st, ref, params); err != nil {
			return err
		}
		key := v.target.name + "\n" + strconv.FormatBool(v.target.system)
		if v.at != nil {
			key += "\n" + v.at.Time.String() + "\n" + strconv.FormatInt(v.at.Snapshot, 10)
		}
		if i, ok := same[key]; ok {
			r.views = append(r.views, r.views[i])
			continue
		}
		same[key] = len(r.views)
		if err := r.fix(ctx, conn, st, ref, &v); err != nil {
			return err
		}
		r.views = append(r.views, v)
	}
	return nil
}

func (r *run) fix(ctx context.Context, conn *duck.Conn, st *statement, ref ref, v *view) error {
	if v.target.system {
		if ref.at != nil {
			return duck.At(st.sql, ref.offset, &tarn.Error{Code: tarn.CodeUnsupported, Detail: "system tables have no past; leave AT out"})
		}
		return r.system(ctx, conn, v)
	}
	got, err := r.s.o.Source.Acquire(ctx, v.target.name, v.at)
	if err != nil {
		return err
	}
	if got.Release != nil {
		r.ends = append(r.ends, got.Release)
	}
	v.schema, v.files, v.kept, v.plain, v.read = got.Schema, got.Files, got.Files, got.Plain, got.Read
	r.entry.FilesTotal += len(v.files)
	return nil
}

// reach makes the folders of external tables part of the sandbox, and those that are none no more not.
func (r *run) reach(ctx context.Context, st *statement) error {
	if r.s.o.Reach == nil || len(st.refs) == 0 {
		return nil
	}
	dirs, err := r.s.o.Reach(ctx)
	if err != nil {
		return err
	}
	return r.s.db.Reach(dirs)
}

// moment returns the moment a table is read at: its own AT, else the request's, else now (nil).
func (r *run) moment(ctx context.Context, st *statement, ref ref, params []string) (*AsOf, error) {
	if ref.at == nil {
		return r.req.At, nil
	}
	typ := "TIMESTAMPTZ"
	if ref.version {
		typ = "BIGINT"
	}
	text := fill(ref.at, params, func(int) string { return "NULL" })
	v, err := r.s.planner.db.Values(ctx, "SELECT CAST(("+text+") AS "+typ+")")
	if err != nil {
		return nil, duck.At(st.sql, ref.offset, &tarn.Error{Code: tarn.CodeInvalid, Detail: "AT: " + userText(err),
			Hint: "write AT (TIMESTAMP => TIMESTAMP '2026-11-20 03:00:00') or AT (VERSION => 123)"})
	}
	switch at := v[0][0].(type) {
	case time.Time:
		return &AsOf{Time: at}, nil
	case int64:
		return &AsOf{Snapshot: at}, nil
	}
	return nil, duck.At(st.sql, ref.offset, &tarn.Error{Code: tarn.CodeInvalid, Detail: "AT must not be NULL"})
}

// prune drops files that hold no row the statement looks at. It must never drop another: whatever
// it does not understand keeps all files.
func (r *run) prune(ctx context.Context, st *statement, params []string) error {
	worth := false
	for i := range r.views {
		worth = worth || prunable(r.views[i].files)
	}
	if worth {
		f, err := r.filters(ctx, st, params)
		if ctx.Err() != nil {
			return ended(ctx, err)
		}
		for i := range r.views {
			if v := &r.views[i]; err == nil && v.stub != "" && !v.target.system {
				v.kept = f.prune(v.stub, v.schema, v.files)
			}
		}
		if err != nil { // the statement itself says what is wrong, if anything is
			r.s.o.Logger.Debug("statement is not pruned", "error", err)
		}
	}
	seen := map[string]bool{}
	for _, v := range r.views {
		for _, f := range v.kept {
			if !seen[f.URL] {
				seen[f.URL] = true
				r.entry.FilesOpened++
			}
		}
	}
	return nil
}

// prunable reports whether leaving files out can save more than planning costs.
func prunable(files []File) bool {
	stats := 0
	for _, f := range files {
		if len(f.Stats) > 0 {
			stats++
		}
	}
	return len(files) > 1 && stats > 0
}

// filters plans the statement over stubs and returns what its scans look at.
func (r *run) filters(ctx context.Context, st *statement, params []string) (filters, error) {
	for i := range r.views {
		v := &r.views[i]
		name := v.target.name
		if v.target.system {
			name = systemSchema + "." + name
		}
		if v.at != nil {
			name += fmt.Sprintf("@%d@%d", v.at.Snapshot, v.at.Time.UnixMicro())
		}
		var err error
		if v.stub, err = r.s.planner.stub(ctx, name, v.schema); err != nil {
			return nil, err
		}
	}
	sql := fill(st.pieces, params, func(i int) string { return r.views[i].stub })
	if f, ok := r.s.plans.get(sql); ok {
		return f, nil
	}
	plan, err := r.s.planner.plan(ctx, sql)
	if err != nil {
		return nil, err
	}
	f, err := readPlan(plan)
	if err == nil && !st.varying && len(sql) <= 2*maxCachedBytes {
		r.s.plans.put(sql, f)
	}
	return f, err
}

// userText is the part of an error that users may read.
func userText(err error) string {
	if e := asError(err); e != nil {
		if e.Hint != "" {
			return e.Detail + "; " + e.Hint
		}
		return e.Detail
	}
	return "internal error"
}

// listTables answers SHOW TABLES.
func (r *run) listTables(ctx context.Context, conn *duck.Conn, st *statement) (*Result, error) {
	names, err := r.s.names(ctx)
	if err != nil {
		return nil, err
	}
	var rows []string
	for _, full := range names.all() {
		zone, table, _ := strings.Cut(full, ".")
		if len(st.refs) == 0 || strings.EqualFold(st.refs[0].schema, zone) {
			rows = append(rows, "("+tarn.QuoteLiteral(zone)+", "+tarn.QuoteLiteral(table)+")")
		}
	}
	sql := `SELECT ''::VARCHAR AS "schema", ''::VARCHAR AS name WHERE false`
	if len(rows) > 0 {
		sql = `SELECT * FROM (VALUES ` + strings.Join(rows, ", ") + `) AS t("schema", name)`
	}
	return r.output(ctx, conn, sql)
}
