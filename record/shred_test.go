package record_test

import (
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/record"
	"github.com/tarn-data/tarn/record/column"
)

var shredded = []tarn.Field{
	{Name: "b", Type: tarn.Type{Kind: tarn.Boolean}}, {Name: "i", Type: tarn.Type{Kind: tarn.Int}}, {Name: "l", Type: tarn.Type{Kind: tarn.Long}},
	{Name: "d", Type: tarn.Type{Kind: tarn.Double}}, {Name: "s", Type: tarn.Type{Kind: tarn.String}}, {Name: "t", Type: tarn.Type{Kind: tarn.TimestampTZ}},
	{Name: "o", Type: tarn.Type{Kind: tarn.Struct, Fields: []tarn.Field{{Name: "s", Type: tarn.Type{Kind: tarn.String}}, {Name: "l", Type: tarn.Type{Kind: tarn.Long}}}}},
}

// newBatch is a batch as an engine makes it.
func newBatch(t testing.TB) *column.Batch {
	columns, ok := column.Of(shredded)
	if !ok {
		t.Fatal("the columns are refused")
	}
	var room func([]*column.Column)
	room = func(columns []*column.Column) {
		for _, c := range columns {
			c.Bools, c.Ints, c.Longs = make([]bool, column.Rows), make([]int32, column.Rows), make([]int64, column.Rows)
			c.Doubles, c.Texts = make([]float64, column.Rows), make([]column.Text, column.Rows)
			room(c.Children)
		}
	}
	room(columns)
	return &column.Batch{Columns: columns}
}

// rowOf is what a row of a batch holds, as encoding/json would have it.
func rowOf(b *column.Batch, columns []*column.Column, row int) map[string]any {
	m := map[string]any{}
	for _, c := range columns {
		if c.Valid[row>>6]>>(row&63)&1 == 0 {
			continue
		}
		switch c.Kind {
		case tarn.Boolean:
			m[c.Name] = c.Bools[row]
		case tarn.Int:
			m[c.Name] = int64(c.Ints[row])
		case tarn.Long:
			m[c.Name] = c.Longs[row]
		case tarn.Double:
			m[c.Name] = c.Doubles[row]
		case tarn.TimestampTZ:
			m[c.Name] = time.UnixMicro(c.Longs[row]).UTC()
		case tarn.String:
			x := c.Texts[row]
			if x.Start >= 0 {
				m[c.Name] = string(b.Source[x.Start : x.Start+x.Length])
			} else {
				m[c.Name] = string(b.Unescaped[-1-x.Start : -1-x.Start+x.Length])
			}
		case tarn.Struct:
			m[c.Name] = rowOf(b, c.Children, row)
		}
	}
	return m
}

func padded(text string) []byte { return append([]byte(text), make([]byte, record.Padding)...) }

func TestShredStops(t *testing.T) {
	text := strings.Repeat(`{"l":1}`+"\n", column.Rows+5) + `{"l":2}`
	b, s := newBatch(t), (*record.Shredder)(nil)
	s = record.NewShredder(b.Columns)
	rows, next, err := s.Shred(b, padded(text), 0, len(text))
	if err != nil || rows != column.Rows || next != 8*column.Rows {
		t.Fatalf("%d rows to %d, %v", rows, next, err)
	}
	b.Reset()
	rows, next, err = s.Shred(b, padded(text), next, len(text))
	if err != nil || rows != 6 || next != len(text) || rowOf(b, b.Columns, 5)["l"] != int64(2) {
		t.Fatalf("%d rows to %d, %v: %v", rows, next, err, rowOf(b, b.Columns, 5))
	}
}

func TestShredAsks(t *testing.T) {
	for name, text := range map[string]string{
		"text for a number": `{"l":"1"}`, "number for a text": `{"s":1.50}`, "fraction for an integer": `{"l":1.0}`, "too large": `{"l":9223372036854775808}`,
		"over 32 bits": `{"i":2147483648}`, "repeated": `{"l":1,"l":2}`, "null and again": `{"l":null,"l":2}`, "escaped key": `{"\u006c":1}`,
		"array": `{"o":[]}`, "scalar for a struct": `{"o":1}`, "object for a text": `{"s":{}}`, "local time": `{"t":"2026-11-20 10:00"}`,
		"no such day": `{"t":"2026-02-29T00:00:00Z"}`, "nanoseconds": `{"t":"2026-02-20T00:00:00.123456789Z"}`, "zero byte": `{"s":"\u0000"}`,
		"no object": `[1]`, "cut": `{"l":1`, "two on a line": `{"l":1} {"l":2}`, "blank line": "\n", "infinite": `{"d":1e999}`,
	} {
		b := newBatch(t)
		for range 3 { // the third time there may be a form
			if rows, _, err := record.NewShredder(b.Columns).Shred(b, padded(`{"l":1}`+"\n"+text+"\n"), 0, len(text)+9); !errors.Is(err, column.ErrAsk) {
				t.Errorf("%s: %d rows, %v", name, rows, err)
			}
		}
	}
}

// FuzzShred compares with encoding/json: what a Shredder takes is what stands there.
func FuzzShred(f *testing.F) {
	for _, seed := range []string{
		`{"b":true,"i":-7,"l":12,"d":1.5,"s":"ä\n\ud83d\ude00","t":"2026-11-20T10:00:00.25+01:00","o":{"s":"x","l":null},"x":[{"s":1}]}`,
		`{"d":-0.0}`, `{"d":1e22}`, `{"l":-9223372036854775808}`, `{ "s" : "" , "o" : { } }`, `{"s":"a long text without any escape in it"}`, `{}`, `{"x":{"l":1},"l":2}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, rec []byte) {
		if strings.ContainsAny(string(rec), "\n\r") {
			return
		}
		if _, err := record.Shape(rec); err != nil { // streams hold nothing else
			return
		}
		text := strings.Repeat(string(rec)+"\n", 3)
		b := newBatch(t)
		rows, next, err := record.NewShredder(b.Columns).Shred(b, padded(text), 0, len(text))
		if err != nil {
			if !errors.Is(err, column.ErrAsk) {
				t.Fatal(err)
			}
			return
		}
		if rows != 3 || next != len(text) {
			t.Fatalf("%d rows to %d of %d", rows, next, len(text))
		}
		var want struct {
			B *bool
			I *int64
			L *int64
			D *float64
			S *string
			T *time.Time
			O *struct {
				S *string
				L *int64
			}
		}
		var members map[string]json.RawMessage
		if err := json.Unmarshal(rec, &members); err != nil {
			t.Fatal(err)
		}
		for k := range members { // encoding/json takes other cases of a key
			if strings.ToLower(k) != k {
				return
			}
		}
		if err := json.Unmarshal(rec, &want); err != nil {
			if strings.Contains(string(rec), `"o"`) || strings.Contains(err.Error(), "parsing time") {
				return // keys of another case within, offsets that package time refuses
			}
			t.Fatalf("%v: %s", err, rec)
		}
		for row := range rows {
			got := rowOf(b, b.Columns, row)
			check := func(name string, is bool, same func(any) bool) {
				if v, ok := got[name]; ok != is || ok && !same(v) {
					t.Fatalf("row %d, %s is %v: %s", row, name, v, rec)
				}
			}
			check("b", want.B != nil, func(v any) bool { return v == *want.B })
			check("i", want.I != nil, func(v any) bool { return v == *want.I })
			check("l", want.L != nil, func(v any) bool { return v == *want.L })
			check("d", want.D != nil, func(v any) bool {
				return math.Abs(v.(float64)) == math.Abs(*want.D) // -0 is the integer 0
			})
			check("s", want.S != nil, func(v any) bool { return v == *want.S })
			check("t", want.T != nil, func(v any) bool { return v.(time.Time).Equal(want.T.Truncate(time.Microsecond)) })
			check("o", want.O != nil, func(any) bool { return true })
		}
	})
}

// TestShredEscapedKeys: an escaped key is not the column whose name is written as it.
func TestShredEscapedKeys(t *testing.T) {
	columns, _ := column.Of([]tarn.Field{{Name: `\u0041`, Type: tarn.Type{Kind: tarn.Long}}, {Name: "A", Type: tarn.Type{Kind: tarn.Long}}})
	for _, c := range columns {
		c.Longs = make([]int64, column.Rows)
	}
	text := `{"\u0041":7}`
	if _, _, err := record.NewShredder(columns).Shred(&column.Batch{Columns: columns}, padded(text), 0, len(text)); !errors.Is(err, column.ErrAsk) {
		t.Errorf("%s: %v, and the columns have %b and %b", text, err, columns[0].Valid[0], columns[1].Valid[0])
	}
}

// TestShredLeavesNoTexts: what a form took of a record that does not fit takes no memory (I8).
func TestShredLeavesNoTexts(t *testing.T) {
	var text strings.Builder
	for _, end := range []string{`"l":1}`, `"b":true}`, `"d":1.5}`, `"i":1}`, `"l":null}`, `"l":2}`} {
		text.WriteString(`{"s":"two\nlines",` + end + "\n")
	}
	b := newBatch(t)
	rows, _, err := record.NewShredder(b.Columns).Shred(b, padded(text.String()), 0, text.Len())
	if want := rows * len("two lines"); err != nil || rows != 6 || len(b.Unescaped) != want {
		t.Errorf("%d rows have %d bytes of texts, want %d; %v", rows, len(b.Unescaped), want, err)
	}
}
