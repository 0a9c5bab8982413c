package duck_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/duck"
	"github.com/tarn-data/tarn/record"
	"github.com/tarn-data/tarn/record/column"
)

// lines is NDJSON as a relation.
type lines struct {
	fields []tarn.Field
	text   string
}

func (l lines) Fields() []tarn.Field { return l.fields }

func (l lines) Scan() column.Scan { return l }

func (l lines) Readers() int { return 1 }

func (l lines) Open() (column.Reader, error) {
	return &lineReader{b: append([]byte(l.text), make([]byte, record.Padding)...), n: len(l.text)}, nil
}

type lineReader struct {
	b     []byte
	n, at int
	s     *record.Shredder
}

func (r *lineReader) Next(b *column.Batch) (int, error) {
	if r.s == nil {
		r.s = record.NewShredder(b.Columns)
	}
	rows, next, err := r.s.Shred(b, r.b, r.at, r.n)
	r.at = next
	return rows, err
}

func (r *lineReader) Close() error { return nil }

func field(name string, k tarn.Kind) tarn.Field {
	return tarn.Field{Name: name, Type: tarn.Type{Kind: k}}
}

func TestRelation(t *testing.T) {
	db, err := duck.Open(duck.Options{MemoryBytes: 64 << 20, Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var text strings.Builder
	for i := range 10_000 {
		fmt.Fprintf(&text, `{"id":%d,"name":"sensor \u00e4 %d","at":"2026-11-20T10:00:%02d.5Z","pos":{"lat":%d.25,"lon":null},"ok":%v,"extra":[1,2]}`+"\n", i, i, i%60, i, i%2 == 0)
	}
	r := lines{text: text.String(), fields: []tarn.Field{
		field("id", tarn.Long), field("name", tarn.String), field("at", tarn.TimestampTZ),
		{Name: "pos", Type: tarn.Type{Kind: tarn.Struct, Fields: []tarn.Field{field("lat", tarn.Double), field("lon", tarn.Double)}}},
		field("ok", tarn.Boolean), field("missing", tarn.String),
	}}
	sql, done := db.Relate(r)
	for query, want := range map[string]string{
		"SELECT count(*), sum(id), min(name), max(epoch_us(\"at\")), sum(pos.lat), count(pos.lon), count(missing), count(*) FILTER (ok) FROM " + sql: "[10000 49995000 sensor ä 0 1795... ",
		"SELECT name FROM " + sql + " WHERE id = 9999":                                                   "[sensor ä 9999]",
		"SELECT count(*) FROM " + sql:                                                                    "[10000]",
		"SELECT count(*) FROM " + sql + " AS a JOIN " + sql + " AS b USING (id)":                         "[10000]",
		"SELECT count(*) FROM (SELECT row_number() OVER () - 1 AS n, id FROM " + sql + ") WHERE n <> id": "[0]",
		"SELECT pos FROM " + sql + " LIMIT 1":                                                            "",
	} {
		got, err := db.Values(t.Context(), query)
		if err != nil {
			t.Errorf("%s: %v", query, err)
			continue
		}
		t.Log(query, got)
		if want != "" && !strings.HasPrefix(fmt.Sprint(got[0]), strings.TrimSuffix(want, "1795... ")) {
			t.Errorf("%s: %v, want %s", query, got, want)
		}
	}
	done()
	if _, err := db.Values(t.Context(), "SELECT * FROM "+sql); err == nil {
		t.Error("a relation that is done can be read")
	}
	r.text += `{"id":"seven"}` + "\n"
	sql, done = db.Relate(r)
	defer done()
	if _, err := db.Values(t.Context(), "SELECT sum(id) FROM "+sql); err == nil || errors.Is(err, column.ErrAsk) || !strings.Contains(err.Error(), column.ErrAsk.Error()) {
		t.Errorf("error is %v", err)
	}
}

// TestRelationMemory: texts over the memory limit fail the statement, and nothing else.
func TestRelationMemory(t *testing.T) {
	db, err := duck.Open(duck.Options{MemoryBytes: 64 << 20, Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	text := strings.Repeat(`{"o":{"s":"`+strings.Repeat("x", 10<<20)+`"}}`+"\n", 9)
	from, done := db.Relate(lines{text: text, fields: []tarn.Field{{Name: "o", Type: tarn.Type{Kind: tarn.Struct, Fields: []tarn.Field{field("s", tarn.String)}}}}})
	defer done()
	if _, err := db.Values(t.Context(), "SELECT max(length(o.s)) FROM "+from); tarn.CodeOf(err) != tarn.CodeTooLarge {
		t.Errorf("error is %v", err)
	}
	if _, err := db.Values(t.Context(), "SELECT 1"); err != nil {
		t.Error(err)
	}
}
