package query

import (
	"context"
	"errors"
	"regexp"
	"strings"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/duck"
)

func asError(err error) *tarn.Error {
	var e *tarn.Error
	if errors.As(err, &e) {
		return e
	}
	return nil
}

// explain makes an error of the rewritten statement one about the user's: with the place in their
// text, without our names and paths.
func (r *run) explain(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ended(ctx, err)
	}
	f := duck.FaultOf(err)
	e := asError(err)
	if f == nil || e == nil {
		return err
	}
	if f.Class == "Binder Error" || f.Class == "Catalog Error" {
		if better := r.locate(ctx); better != nil {
			return better
		}
	}
	clean := *e
	clean.Detail = r.hide(e.Detail)
	if clean.Code == tarn.CodeForbidden && clean.Hint == "" {
		clean.Detail, clean.Hint = "that is not allowed", "SQL reads the tables of this lake only: no files, network, settings or other statements"
	}
	return &clean
}

// locate binds the user's text itself, so that the error names its line and column.
func (r *run) locate(ctx context.Context) error {
	if r.st == nil {
		return nil
	}
	tables := map[string]tarn.Schema{}
	for _, v := range r.views {
		name := v.target.name
		if v.target.system {
			name = systemSchema + "." + name
		}
		tables[name] = v.schema
	}
	err := r.s.planner.explainFault(ctx, r.st.sql, tables)
	f := duck.FaultOf(err)
	if f == nil || f.Class != "Binder Error" && f.Class != "Catalog Error" {
		return nil
	}
	e := &tarn.Error{Code: tarn.CodeInvalid, Detail: r.hide(duck.Brief(f.Message))}
	e.Detail, e.Hint = cutHint(e.Detail)
	if at, ok := duck.Locate(r.st.sql, f); ok {
		e.Detail = at.String() + ": " + e.Detail
	}
	return e
}

// cutHint parts DuckDB's own advice from its complaint.
func cutHint(s string) (detail, hint string) {
	s = strings.Join(strings.Fields(s), " ")
	for _, mark := range []string{"Did you mean ", "Candidate bindings: ", "Candidate functions: "} {
		if i := strings.Index(s, mark); i > 0 {
			hint = strings.TrimSpace(s[i:])
			return strings.TrimSpace(s[:i]), strings.ToLower(hint[:1]) + hint[1:]
		}
	}
	return s, ""
}

var ownNames = regexp.MustCompile(`stub_\d+_[0-9a-f]{16}|temp\.system_\d+|system_\d+`)

// hide removes paths of the lake and our own names from a text for users.
func (r *run) hide(s string) string {
	for _, d := range r.s.o.AllowedDirs {
		s = strings.ReplaceAll(s, strings.TrimSuffix(d, "/")+"/", "")
	}
	s = strings.ReplaceAll(s, "memory.main.", "")
	return ownNames.ReplaceAllString(s, "a table")
}
