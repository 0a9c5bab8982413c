package infer_test

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	_ "github.com/duckdb/duckdb-go/v2"
	"pgregory.net/rapid"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/delivery/infer"
	"github.com/tarn-data/tarn/record"
)

// reader reads records with DuckDB as a delivery does.
type reader struct {
	db   *sql.DB
	file string
}

func newReader(t testing.TB) *reader {
	db, err := sql.Open("duckdb", "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return &reader{db, filepath.Join(t.TempDir(), "batch.ndjson")}
}

// rows writes lines as a batch and returns each row as a JSON object.
func (r *reader) rows(in infer.Input, lines [][]byte) ([]map[string]any, error) {
	if err := os.WriteFile(r.file, append(bytes.Join(lines, []byte("\n")), '\n'), 0o600); err != nil {
		return nil, err
	}
	cols := make([]string, len(in.Read.Fields))
	for i, f := range in.Read.Fields {
		cols[i] = tarn.QuoteLiteral(f.Name) + ": " + tarn.QuoteLiteral(f.Type.SQL())
	}
	q := fmt.Sprintf("SELECT to_json(r)::VARCHAR FROM (SELECT %s FROM read_json(%s, format='newline_delimited', records='true', columns={%s})) r",
		in.Select, tarn.QuoteLiteral(r.file), strings.Join(cols, ", "))
	rs, err := r.db.Query(q)
	if err != nil {
		return nil, fmt.Errorf("%w\n%s", err, q)
	}
	defer rs.Close()
	var out []map[string]any
	for rs.Next() {
		var s string
		if err := rs.Scan(&s); err != nil {
			return nil, err
		}
		out = append(out, parseJSON(strings.ReplaceAll(s, ":Infinity", `:"Infinity"`)).(map[string]any))
	}
	return out, rs.Err()
}

func parseJSON[T ~string | ~[]byte](s T) any {
	d := json.NewDecoder(strings.NewReader(string(s)))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		panic(fmt.Sprintf("%v in %q", err, s))
	}
	return v
}

// restore merges what the rest column holds back into the row.
func restore(into, rest any) any {
	switch r := rest.(type) {
	case map[string]any:
		m, ok := into.(map[string]any)
		if !ok {
			return rest
		}
		for k, v := range r {
			m[k] = restore(m[k], v)
		}
		return m
	case []any:
		l, ok := into.([]any)
		if !ok {
			return rest
		}
		for i, v := range r {
			if v != nil {
				l[i] = restore(l[i], v)
			}
		}
		return l
	}
	return rest
}

// same compares what DuckDB read at a path of the given type with what the record says there.
func same(got, want any, typ tarn.Type, nested bool) error {
	if want == nil || got == nil {
		if got != want {
			return fmt.Errorf("read %v, want %v", got, want)
		}
		return nil
	}
	switch typ.Kind {
	case tarn.JSON:
		if s, ok := got.(string); ok && nested {
			got = parseJSON(s)
		}
		if g, w := canonical(got), canonical(want); !reflect.DeepEqual(g, w) {
			return fmt.Errorf("read %v, want %v", g, w)
		}
		return nil
	case tarn.Struct:
		g, w := got.(map[string]any), want.(map[string]any)
		for _, k := range slices.Sorted(maps.Keys(w)) {
			ft := tarn.Type{Kind: tarn.JSON}
			if f := typ.Lookup(k); f != nil {
				ft = f.Type
			}
			if err := same(g[k], w[k], ft, nested && typ.Lookup(k) != nil); err != nil {
				return fmt.Errorf("%q: %w", k, err)
			}
		}
		for k, v := range g {
			if _, ok := w[k]; !ok && v != nil {
				return fmt.Errorf("%q: read %v, the record has nothing", k, v)
			}
		}
		return nil
	case tarn.List:
		g, w := got.([]any), want.([]any)
		if len(g) != len(w) {
			return fmt.Errorf("read %v, want %v", g, w)
		}
		for i := range w {
			if err := same(g[i], w[i], typ.Elem.Type, true); err != nil {
				return fmt.Errorf("[%d]: %w", i, err)
			}
		}
		return nil
	case tarn.Timestamp, tarn.Date:
		if g, w := instant(got.(string)), instant(want.(string)); !g.Equal(w) || g.IsZero() {
			return fmt.Errorf("read %v, want %v", got, want)
		}
		return nil
	case tarn.String:
		if n, ok := want.(json.Number); ok {
			want, got = canonical(n), canonical(json.Number(got.(string)))
		} else if b, ok := want.(bool); ok {
			want = strconv.FormatBool(b)
		}
	}
	if g, w := canonical(got), canonical(want); !reflect.DeepEqual(g, w) {
		return fmt.Errorf("read %v, want %v", g, w)
	}
	return nil
}

func instant(s string) time.Time {
	for _, layout := range []string{"2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05-0700", "2006-01-02 15:04:05-07", "2006-01-02 15:04:05", "2006-01-02"} {
		if at, err := time.Parse(layout, strings.Replace(s, "T", " ", 1)); err == nil {
			return at.UTC().Truncate(time.Microsecond) // what a TIMESTAMP holds
		}
	}
	return time.Time{}
}

// canonical gives equal values for equal JSON: integers exactly, other numbers as doubles.
func canonical(v any) any {
	switch x := v.(type) {
	case json.Number:
		if n, ok := new(big.Int).SetString(string(x), 10); ok {
			return n.String()
		}
		f, err := strconv.ParseFloat(string(x), 64)
		if err != nil {
			return strings.ToLower(string(x)) // beyond a double; JSON keeps its text
		}
		if n, acc := new(big.Float).SetFloat64(f).Int(nil); acc == big.Exact {
			return n.String()
		}
		return f
	case map[string]any:
		m := map[string]any{}
		for k, e := range x {
			m[k] = canonical(e)
		}
		return m
	case []any:
		l := make([]any, len(x))
		for i, e := range x {
			l[i] = canonical(e)
		}
		return l
	}
	return v
}

// withoutNulls drops null members at the top: absence and null are the same.
func withoutNulls(v any) any {
	m := v.(map[string]any)
	for k, e := range m {
		if e == nil {
			delete(m, k)
		}
	}
	return m
}

// deliver runs records through a state as a delivery does and returns the lines DuckDB gets, with
// the records they came from.
func deliver(t rapid.TB, s *infer.State, recs [][]byte) (lines, from [][]byte, failed []*infer.Misfit) {
	for _, rec := range recs {
		shape, err := record.Shape(rec)
		if err != nil {
			t.Fatalf("%s: %v", rec, err)
		}
		v := s.Knows(shape)
		rewrite := v == infer.Rewrite
		if v == infer.Unknown {
			e, err := s.Observe(rec)
			if err != nil {
				t.Fatalf("%s: %v", rec, err)
			}
			if e.Misfit != nil {
				failed = append(failed, e.Misfit)
				continue
			}
			s.Learn(shape, e.Verdict())
			rewrite = e.Rewrite
		} else if m, err := s.Check(rec); err != nil {
			t.Fatalf("%s: %v", rec, err)
		} else if m != nil { // a value that shapes do not tell: DuckDB refuses it, or a limit of precision
			failed = append(failed, m)
			continue
		}
		line := rec
		if rewrite {
			if line, err = s.Rewrite(nil, rec); err != nil {
				t.Fatalf("%s: %v", rec, err)
			}
		}
		lines, from = append(lines, line), append(from, rec)
	}
	return lines, from, failed
}

// verify reads lines and compares every value with its record.
func verify(t rapid.TB, r *reader, s *infer.State, lines, from [][]byte) {
	if len(lines) == 0 || len(s.Schema().Fields) == 0 {
		return
	}
	rows, err := r.rows(s.Input(), lines)
	if err != nil {
		t.Fatalf("DuckDB refuses records that fit: %v\n%s", err, bytes.Join(lines, []byte("\n")))
	}
	if len(rows) != len(lines) {
		t.Fatalf("%d rows of %d records", len(rows), len(lines))
	}
	typ := tarn.Type{Kind: tarn.Struct, Fields: s.Schema().Fields}
	for i, row := range rows {
		if rest := row["_rest"]; rest != nil {
			delete(row, "_rest")
			restore(row, rest)
		}
		if err := same(withoutNulls(row), withoutNulls(parseJSON(from[i])), typ, false); err != nil {
			t.Fatalf("%v\nrecord %s\nline   %s\nschema %v", err, from[i], lines[i], typ)
		}
	}
}
