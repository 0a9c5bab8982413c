package query

import (
	"context"
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
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
	if broken := r.blameFile(f, e); broken != nil {
		return broken
	}
	clean := *e
	clean.Detail = r.hide(e.Detail)
	if clean.Code == tarn.CodeForbidden && clean.Hint == "" {
		clean.Detail, clean.Hint = "that is not allowed", "SQL reads the tables of this lake only: no files, network, settings or other statements"
	}
	return &clean
}

// damaged finds DuckDB's complaints about the content of a Parquet file, not all of which name it.
var damaged = regexp.MustCompile(`(?i)parquet|decompress|thrift|TProtocol|magic bytes|corrupt|file (?:is )?too (?:small|short)|metadata size|variable-length int`)

// blameFile says which data file of which table can not be read, or returns nil when the fault is
// about something else. Of the file it shows the name, not the folder.
func (r *run) blameFile(f *duck.Fault, e *tarn.Error) error {
	io := f.Class == "IO Error" && strings.HasPrefix(e.Detail, "a file")
	if !io && (!slices.Contains([]string{"Invalid Input Error", "Invalid Error", "Serialization Error", "Error"}, f.Class) || !damaged.MatchString(f.Message)) {
		return nil
	}
	broken := &tarn.Error{Code: tarn.CodeUnavailable, Hint: "tarn verify says what else is missing or damaged", Err: f}
	var tables []string
	for _, v := range r.views {
		for _, file := range v.kept {
			if strings.Contains(f.Message, file.URL) {
				state := "is damaged"
				if io && strings.Contains(f.Message, "No files found") || strings.Contains(f.Message, "No such file") {
					state = "is missing"
				} else if io {
					state = "can not be read"
				}
				broken.Detail = fmt.Sprintf("the data file %s of the table %s %s", path.Base(file.URL), v.target.name, state)
				return broken
			}
		}
		if len(v.kept) > 0 && !slices.Contains(tables, v.target.name) {
			tables = append(tables, v.target.name)
		}
	}
	switch len(tables) {
	case 0:
		return nil
	case 1:
		broken.Detail = "a data file of the table " + tables[0] + " is missing or damaged"
	default:
		broken.Detail = "a data file of one of the tables " + strings.Join(tables, ", ") + " is missing or damaged"
	}
	return broken
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
	if f == nil || f.Class != "Binder Error" && f.Class != "Catalog Error" || strings.Contains(f.Message, "time travel") {
		return nil // the planner's tables have no AT, which is not what the user did wrong
	}
	e := &tarn.Error{Code: tarn.CodeInvalid, Detail: r.hide(duck.Brief(f.Message))}
	e.Detail, e.Hint = cutHint(e.Detail)
	if at, ok := duck.Locate(r.st.sql, f); ok {
		e.Detail = at.String() + ": " + e.Detail
	}
	return e
}

// bareAt finds the name at without quotes, where it is not the AT of time travel or of a time zone.
var bareAt = regexp.MustCompile(`(?i)(?:^|[\s,(.])at\s*(?:[,);=<>.]|$|\s(?:from|as|is|in|not|and|or|asc|desc|between|limit)\b)`)

// HintAt explains the syntax error that a column called at gives: events often have one. Other errors
// are returned as they are.
func HintAt(err error, sql string) error {
	if e := asError(err); e != nil && e.Hint == "" && strings.Contains(e.Detail, "syntax error") && bareAt.MatchString(sql) {
		e.Hint = `AT is a key word; write a column of that name "at", in quotes`
	}
	return err
}

// PlaceIn adds to DuckDB's complaint about sql its line and column there, and parts its advice from it.
// The statement that was run has before, which ends a line, in front of sql. Other errors are returned
// as they are.
func PlaceIn(err error, before, sql string) error {
	f, e := duck.FaultOf(err), asError(err)
	if f == nil || e == nil || e.Hint != "" {
		return err
	}
	clean := *e
	clean.Detail, clean.Hint = cutHint(e.Detail)
	if at, ok := duck.Locate(before+sql, f); ok {
		if at.Line -= strings.Count(before, "\n"); at.Line > 0 {
			clean.Detail = at.String() + ": " + clean.Detail
		}
	}
	return &clean
}

// advice are the words DuckDB begins its own advice with, and ours for them.
var advice = []struct{ theirs, ours string }{
	{"Did you mean ", "did you mean "},
	{"Candidate bindings: ", "there is "},
	{"Candidate functions: ", "there is "},
}

// cutHint parts DuckDB's own advice from its complaint.
func cutHint(s string) (detail, hint string) {
	s = strings.Join(strings.Fields(s), " ")
	for _, a := range advice {
		if i := strings.Index(s, a.theirs); i > 0 {
			rest := strings.TrimSpace(strings.TrimLeft(s[i+len(a.theirs):], ": "))
			if rest != "" {
				hint = a.ours + rest
			}
			s = s[:i]
			break
		}
	}
	return strings.TrimRight(s, ".! "), hint
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
