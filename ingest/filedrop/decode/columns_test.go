package decode

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/record"
	"github.com/tarn-data/tarn/record/column"
)

var rowFields = []tarn.Field{
	{Name: "t", Type: tarn.Type{Kind: tarn.String}}, {Name: "n", Type: tarn.Type{Kind: tarn.Double}}, {Name: "l", Type: tarn.Type{Kind: tarn.Long}}, {Name: "i", Type: tarn.Type{Kind: tarn.Int}},
	{Name: "b", Type: tarn.Type{Kind: tarn.Boolean}}, {Name: "at", Type: tarn.Type{Kind: tarn.TimestampTZ}}, {Name: LineMember, Type: tarn.Type{Kind: tarn.Long}}, {Name: "none", Type: tarn.Type{Kind: tarn.String}},
	{Name: "u", Type: tarn.Type{Kind: tarn.String}}, {Name: "v", Type: tarn.Type{Kind: tarn.String}},
}

var rowPlan = Plan{Format: CSV, RecordBytes: 1 << 20, Columns: []Column{{"at", TextKind}, {"n", NumberKind}, {"t", TextKind}, {"other", TextKind}, {"b", BooleanKind}, {"l", NumberKind}, {"i", NumberKind}, {"u", NumberKind}, {"v", BooleanKind}}}

var rowValues = [][]string{
	{"2026-11-20T10:00:00Z", "2026-11-20T10:00:00.5+02:00", "", `"2026-11-20T10:00:00Z"`, "2026-11-20"},
	{"1.5", "-0", " 7 ", "", "1e5", "x", "007", "1.", "-", ".5", "+1", "0.1.2", `"2.5"`},
	{"a", "", `""`, `"a,b"`, `"say ""hi"""`, "ä", "12", "a\\b", "a\x00b", " spaced ", "a\tb"},
	{"ignored", "", `"x"`},
	{"true", "FALSE", " true ", "", "yes"},
	{"5", "-9223372036854775808", "", " 5", "5.0"},
	{"5", "2147483648", "", "05", "-"},
	{"1.5", "-12", "x", "1.50", " 3 ", "-0", "1e3", `"4"`, `"say ""hi"""`},
	{"true", "false", "", "True", " true ", "maybe", `"false"`},
}

// columnsOf reads a text into columns and says what stands in them; false when it asks.
func columnsOf(t interface{ Fatalf(string, ...any) }, text []byte, reader func([]*column.Column) record.RowReader) (string, bool) {
	columns, _ := column.Of(rowFields)
	for _, c := range columns {
		c.Bools, c.Ints, c.Longs = make([]bool, column.Rows), make([]int32, column.Rows), make([]int64, column.Rows)
		c.Doubles, c.Texts = make([]float64, column.Rows), make([]column.Text, column.Rows)
	}
	b := &column.Batch{Columns: columns}
	n, end, err := reader(columns).Shred(b, append(text, make([]byte, record.Padding)...), 0, len(text))
	if err != nil {
		return "", false
	}
	if end != len(text) {
		t.Fatalf("stopped at %d of %d", end, len(text))
	}
	var out strings.Builder
	for row := range n {
		for _, c := range columns {
			if c.Valid[row>>6]>>(row&63)&1 == 0 {
				out.WriteString("NULL ")
				continue
			}
			switch c.Kind {
			case tarn.Boolean:
				fmt.Fprint(&out, c.Bools[row], " ")
			case tarn.Int:
				fmt.Fprint(&out, c.Ints[row], " ")
			case tarn.Double:
				fmt.Fprint(&out, c.Doubles[row], " ")
			case tarn.String:
				x := c.Texts[row]
				if x.Start >= 0 {
					fmt.Fprintf(&out, "%q ", b.Source[x.Start:x.Start+x.Length])
				} else {
					fmt.Fprintf(&out, "%q ", b.Unescaped[-1-x.Start:-1-x.Start+x.Length])
				}
			default:
				fmt.Fprint(&out, c.Longs[row], " ")
			}
		}
		out.WriteByte('\n')
	}
	return out.String(), true
}

// asRecords is the records of a piece with their lines, as NDJSON; false when some piece is none.
func asRecords(t interface{ Fatal(...any) }, piece []byte, p Plan, at Place) ([]byte, bool) {
	records, err := OpenRange(piece, p, at)
	if err != nil {
		t.Fatal(err)
	}
	defer records.Close()
	var out []byte
	for {
		rec, line, err := records.Next()
		if err == io.EOF {
			return out, true
		}
		rec = bytes.Trim(rec, " \t\r")
		if err != nil || len(rec) < 2 || rec[0] != '{' {
			return nil, false
		}
		comma := ","
		if len(bytes.Trim(rec[1:len(rec)-1], " \t\r")) == 0 {
			comma = ""
		}
		out = fmt.Appendf(out, `%s%s"_line":%d}`+"\n", rec[:len(rec)-1], comma, line)
	}
}

// TestColumns: a piece of a file gives the columns that its records give.
func TestColumns(t *testing.T) {
	taken, asked := 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		odd := rapid.IntRange(0, 3).Draw(rt, "odd") == 0
		var text strings.Builder
		p, at := rowPlan, Place{Line: rapid.Int64Range(1, 3).Draw(rt, "line"), Offset: rapid.Int64Range(0, 1).Draw(rt, "offset")}
		p.Format = rapid.SampledFrom([]Format{CSV, NDJSON}).Draw(rt, "format")
		if at.Offset == 0 && rapid.Bool().Draw(rt, "mark") {
			text.WriteString(byteOrderMark)
		}
		if at.Header = p.Format == CSV && rapid.Bool().Draw(rt, "header"); at.Header {
			text.WriteString("at,n,t,other,b,l,i,u,v\n")
		}
		for range rapid.IntRange(1, 8).Draw(rt, "rows") {
			var row []string
			for _, values := range rowValues {
				if !odd {
					values = values[:3]
				}
				row = append(row, rapid.SampledFrom(values).Draw(rt, "value"))
			}
			line := strings.Join(row, ",")
			if p.Format == NDJSON {
				line = rapid.SampledFrom([]string{`{"t":"x","l":5}`, `{"l":7,"t":null}`, ` {"n":1.5} `, `{}`, "", " ", `{"t":"y","l":6,"other":[1]}`}).Draw(rt, "line")
				if odd {
					line = rapid.SampledFrom([]string{line, `{"_line":4}`, `{"l":"x"}`, `{"l":1}{"l":2}`}).Draw(rt, "odd line")
				}
			}
			text.WriteString(line + rapid.SampledFrom([]string{"\n", "\n", "\r\n", "\n\n"}).Draw(rt, "end"))
		}
		piece := []byte(text.String())
		want, good := asRecords(rt, piece, p, at)
		got, ok := columnsOf(rt, piece, func(c []*column.Column) record.RowReader { return Columns(p, at, c) })
		if !ok {
			asked++
			return
		}
		taken++
		same, ok := columnsOf(rt, want, func(c []*column.Column) record.RowReader { return record.NewShredder(c) })
		if !good || !ok || got != same {
			rt.Fatalf("columns\n%s\nof records (%v, %v)\n%s\n%s", got, good, ok, same, want)
		}
	})
	t.Logf("%d taken, %d asked", taken, asked)
	if taken == 0 || asked == 0 {
		t.Error("one of the ways was never gone")
	}
}

// FuzzColumns: what is taken is what the records say.
func FuzzColumns(f *testing.F) {
	f.Add([]byte("2026-11-20T10:00:00Z,1.5,a,x,true,5,6,7,true\r\n\n,,,,,,,,\n"), false, true)
	f.Add([]byte("at,n,t,other,b,l,i,u,v\n\"a\",1,\"b\"\"c\nd\",,,,,-1.50,\n"), true, true)
	f.Add([]byte("{\"l\":1}\n\n \r\n{\"t\":\"x\"}"), false, false)
	f.Fuzz(func(t *testing.T, piece []byte, header, csv bool) {
		p, at := rowPlan, Place{Line: 1, Header: header}
		if !csv {
			p.Format = NDJSON
		}
		want, good := asRecords(t, piece, p, at)
		if !good || bytes.Count(want, []byte{'\n'}) > column.Rows { // references are to good pieces only
			return
		}
		framed, err := record.Frame(want, record.KindNDJSON, record.FrameOptions{})
		if err != nil || framed.RejectedTotal > 0 {
			return
		}
		got, ok := columnsOf(t, slices.Clone(piece), func(c []*column.Column) record.RowReader { return Columns(p, at, c) })
		if !ok {
			return
		}
		same, ok := columnsOf(t, want, func(c []*column.Column) record.RowReader { return record.NewShredder(c) })
		if !ok || got != same {
			t.Fatalf("columns\n%s\nof records (%v)\n%s\n%s", got, ok, same, want)
		}
	})
}
