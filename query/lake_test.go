package query

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/duck"
)

// lake is a Source of real Parquet files with FIELD_IDS, written by DuckDB as delivery does.
type lake struct {
	t    testing.TB
	dir  string
	db   *duck.DB
	mu   sync.Mutex
	tabs map[string]*table
	n    int
	open atomic.Int64 // views not released
}

type table struct {
	plain  bool // no file needs the mapping by field id
	schema tarn.Schema
	files  []File
	past   []version
}

type version struct {
	at       time.Time
	snapshot int64
	schema   tarn.Schema
	files    []File
}

func newLake(t testing.TB) *lake {
	t.Helper()
	dir := t.TempDir()
	db, err := duck.Open(duck.Options{AllowedDirs: []string{dir}, Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return &lake{t: t, dir: dir, db: db, tabs: map[string]*table{}}
}

func (l *lake) create(name string, fields ...tarn.Field) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tabs[name] = &table{schema: tarn.Schema{Fields: fields}}
}

// add writes a SELECT as one more file of a table.
func (l *lake) add(name, sql string, tail bool) {
	l.t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	tab := l.tabs[name]
	l.n++
	out, err := l.db.Copy(context.Background(), sql, duck.CopyOptions{Path: filepath.Join(l.dir, fmt.Sprintf("f%d.parquet", l.n)), FieldIDs: tab.schema})
	if err != nil {
		l.t.Fatal(err)
	}
	for _, w := range out {
		f := File{URL: w.Path, Rows: w.Rows, Bytes: w.Bytes, Stats: map[int]Bounds{}, Tail: tail}
		for _, c := range w.Columns {
			b := Bounds{Values: c.Values, Nulls: c.Nulls, NaNs: -1, Lower: c.Lower, Upper: c.Upper}
			if c.NaNKnown && !c.HasNaN {
				b.NaNs = 0
			}
			f.Stats[c.ID] = b
		}
		tab.files = append(tab.files, f)
	}
}

// snapshot remembers the table as it is.
func (l *lake) snapshot(name string, at time.Time, id int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.tabs[name]
	t.past = append(t.past, version{at: at, snapshot: id, schema: t.schema, files: slices.Clone(t.files)})
}

func (l *lake) Tables(context.Context) ([]TableInfo, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []TableInfo
	for name, t := range l.tabs {
		out = append(out, TableInfo{Name: name, Schema: t.schema})
	}
	slices.SortFunc(out, func(a, b TableInfo) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

func (l *lake) Acquire(_ context.Context, name string, at *AsOf) (*View, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.tabs[name]
	v := &View{Schema: t.schema, Files: slices.Clone(t.files), Plain: t.plain && at == nil}
	if at != nil {
		found := false
		for _, p := range t.past {
			if p.snapshot == at.Snapshot && at.Snapshot != 0 || at.Snapshot == 0 && !p.at.After(at.Time) {
				v.Schema, v.Files, found = p.schema, p.files, true
			}
		}
		if !found {
			return nil, &tarn.Error{Code: tarn.CodeNotFound, Detail: "there is no snapshot then"}
		}
	}
	l.open.Add(1)
	var once sync.Once
	v.Release = func() {
		once.Do(func() { l.open.Add(-1) })
	}
	return v, nil
}

func field(id int, name, typ string) tarn.Field {
	t, err := tarn.ParseType(typ)
	if err != nil {
		panic(err)
	}
	var assign func(t *tarn.Type, next *int)
	assign = func(t *tarn.Type, next *int) {
		for i := range t.Fields {
			*next++
			t.Fields[i].ID = *next
			assign(&t.Fields[i].Type, next)
		}
		for _, e := range []*tarn.Field{t.Key, t.Elem} {
			if e != nil {
				*next++
				e.ID = *next
				assign(&e.Type, next)
			}
		}
	}
	next := id * 100
	assign(&t, &next)
	return tarn.Field{ID: id, Name: name, Type: t}
}

// hours makes curated.telemetry: one file for each of n hours from 2026-11-20 00:00, rows each.
func (l *lake) hours(n, rows int) {
	l.create("curated.telemetry", field(1, "id", "BIGINT"), field(2, "ts", "TIMESTAMP"), field(3, "device_id", "VARCHAR"),
		field(4, "v", "DOUBLE"), field(5, "position", "STRUCT(lat DOUBLE, lon DOUBLE)"), field(6, "tags", "VARCHAR[]"), field(7, "doc", "JSON"))
	l.tabs["curated.telemetry"].plain = true
	for h := range n {
		l.add("curated.telemetry", fmt.Sprintf(`SELECT %d + i AS id, TIMESTAMP '2026-11-20 00:00:00' + INTERVAL %d HOUR + i * INTERVAL 1 SECOND AS ts,
			'wagon-' || (i %% 7) AS device_id, i / 10.0::DOUBLE AS v, {'lat': 47.0::DOUBLE + %d, 'lon': 8.0::DOUBLE} AS position, ['a', 'b'] AS tags,
			('{"k": ' || i || '}')::JSON AS doc FROM range(%d) t(i)`, h*rows, h, h, rows), h == n-1)
	}
}

func newService(t testing.TB, l *lake, change func(*Options)) *Service {
	t.Helper()
	o := Options{Source: l, AllowedDirs: []string{l.dir}, Threads: 2, TempDir: t.TempDir()}
	if change != nil {
		change(&o)
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if n := l.open.Load(); n != 0 {
			t.Errorf("%d views were not released", n)
		}
	})
	return s
}

// ask runs a statement and returns its NDJSON.
func ask(t testing.TB, s *Service, req Request) (string, Stats, error) {
	t.Helper()
	req.Format = NDJSON
	res, err := s.Run(context.Background(), req)
	if err != nil {
		return "", Stats{}, err
	}
	defer res.Close()
	var b bytes.Buffer
	err = res.Write(&b)
	return b.String(), res.Stats(), err
}

// must is ask for statements that succeed.
func must(t testing.TB, s *Service, sql string, params ...any) string {
	t.Helper()
	out, _, err := ask(t, s, Request{SQL: sql, Params: params})
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return out
}
