package duck

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/duck/ast"
)

// Parse returns the syntax tree of exactly one SELECT statement (also VALUES, FROM-first, DESCRIBE,
// SUMMARIZE and SHOW, which DuckDB parses to SELECTs). Nothing is looked up. Errors:
// tarn.CodeInvalid with line and column of a fault, tarn.CodeForbidden for any other statement and
// for more than one.
func (d *DB) Parse(ctx context.Context, sql string) (*ast.Tree, error) {
	if err := checkText(sql); err != nil {
		return nil, err
	}
	v, err := d.Values(ctx, "SELECT json_serialize_sql($1::VARCHAR)::VARCHAR", sql)
	if err != nil {
		return nil, err
	}
	answer, _ := v[0][0].(string)
	tree, err := ast.Decode([]byte(answer))
	if err == nil {
		return tree, nil
	}
	var syntax *ast.SyntaxError
	var kind *ast.KindError
	switch {
	case errors.As(err, &syntax):
		return nil, At(sql, syntax.Offset, &tarn.Error{Code: tarn.CodeInvalid, Detail: Brief(syntax.Message)})
	case errors.As(err, &kind) && kind.Statements == 0:
		return nil, &tarn.Error{Code: tarn.CodeInvalid, Detail: "there is no statement", Hint: "write a SELECT"}
	case errors.As(err, &kind):
		return nil, &tarn.Error{Code: tarn.CodeForbidden, Detail: kind.Error(), Hint: "write one SELECT (also FROM, WITH, VALUES, DESCRIBE, SUMMARIZE, SHOW TABLES); data is changed by pipelines only"}
	}
	return nil, &tarn.Error{Code: tarn.CodeInternal, Detail: "the statement could not be read", Err: err}
}

// checkText refuses what the C interface would cut short or reject without a word.
func checkText(sql string) error {
	if i := strings.IndexByte(sql, 0); i >= 0 {
		return At(sql, i, &tarn.Error{Code: tarn.CodeInvalid, Detail: "a NUL character is not allowed"})
	}
	if !utf8.ValidString(sql) {
		i := strings.IndexRune(sql, utf8.RuneError)
		return At(sql, i, &tarn.Error{Code: tarn.CodeInvalid, Detail: "the statement is not UTF-8"})
	}
	return nil
}

// Render returns SQL text for a tree, changed or not.
func (d *DB) Render(ctx context.Context, t *ast.Tree) (string, error) {
	b, err := t.Encode()
	if err != nil {
		return "", &tarn.Error{Code: tarn.CodeInternal, Detail: "the statement could not be rewritten", Err: err}
	}
	v, err := d.Values(ctx, "SELECT json_deserialize_sql($1::JSON)", string(b))
	if err != nil {
		return "", err
	}
	s, _ := v[0][0].(string)
	return s, nil
}

// Position is a place in a text: both 1-based, Column in characters.
type Position struct{ Line, Column int }

// String returns "line 2, column 14".
func (p Position) String() string { return fmt.Sprintf("line %d, column %d", p.Line, p.Column) }

// PositionOf returns the place of a byte offset.
func PositionOf(text string, offset int) Position {
	offset = max(0, min(offset, len(text)))
	before := text[:offset]
	line := strings.Count(before, "\n")
	return Position{Line: line + 1, Column: len([]rune(before[strings.LastIndexByte(before, '\n')+1:])) + 1}
}

// At adds the place to the detail of e when offset is known (not negative).
func At(text string, offset int, e *tarn.Error) *tarn.Error {
	if offset >= 0 {
		e.Detail = PositionOf(text, offset).String() + ": " + e.Detail
	}
	return e
}

// RenderExpr returns SQL text for one expression of a tree.
func (d *DB) RenderExpr(ctx context.Context, expr ast.Node) (string, error) {
	t, err := d.Parse(ctx, "SELECT 1")
	if err != nil {
		return "", err
	}
	t.Query()["select_list"] = []any{expr}
	s, err := d.Render(ctx, t)
	return strings.TrimPrefix(s, "SELECT "), err
}

// Locate returns the place in sql that DuckDB's message points at with an excerpt and a caret.
func Locate(sql string, f *Fault) (Position, bool) {
	_, rest, ok := strings.Cut(f.Message, "\nLINE ")
	num, rest, ok2 := strings.Cut(rest, ": ")
	excerpt, caret, ok3 := strings.Cut(rest, "\n")
	line, err := strconv.Atoi(num)
	lines := strings.Split(sql, "\n")
	if !ok || !ok2 || !ok3 || err != nil || line < 1 || line > len(lines) {
		return Position{}, false
	}
	at := strings.IndexByte(caret, '^') - len("LINE : ") - len(num)
	shown := strings.TrimPrefix(excerpt, "...")
	at -= len([]rune(excerpt)) - len([]rune(shown))
	shown = strings.TrimSuffix(shown, "...")
	start := strings.Index(lines[line-1], shown)
	if start < 0 || at < 0 {
		return Position{}, false
	}
	return Position{Line: line, Column: len([]rune(lines[line-1][:start])) + at + 1}, true
}
