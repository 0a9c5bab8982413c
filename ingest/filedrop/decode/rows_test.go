package decode

import (
	"fmt"
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
}

var rowPlan = Plan{Format: CSV, RecordBytes: 1 << 20, Columns: []Column{{"at", TextKind}, {"n", NumberKind}, {"t", TextKind}, {"other", TextKind}, {"b", BooleanKind}, {"l", NumberKind}, {"i", NumberKind}}}

var rowValues = [][]string{
	{"2026-11-20T10:00:00Z", "2026-11-20T10:00:00.5+02:00", "", `"2026-11-20T10:00:00Z"`, "2026-11-20"},
	{"1.5", "-0", " 7 ", "", "1e5", "x", "007", "1.", "-", ".5", "+1", "0.1.2", `"2.5"`},
	{"a", "", `""`, `"a,b"`, `"say ""hi"""`, "ä", "12", "a\\b", "a\x00b", " spaced ", "a\tb"},
	{"ignored", "", `"x"`},
	{"true", "FALSE", " true ", "", "yes"},
	{"5", "-9223372036854775808", "", " 5", "5.0"},
	{"5", "2147483648", "", "05", "-"},
}

// rowsIn shreds lines and says what stands in the columns; false when it asks.
func rowsIn(t *rapid.T, form record.Form, lines []byte) (string, bool) {
	columns, _ := column.Of(rowFields)
	for _, c := range columns {
		c.Bools, c.Ints, c.Longs = make([]bool, column.Rows), make([]int32, column.Rows), make([]int64, column.Rows)
		c.Doubles, c.Texts = make([]float64, column.Rows), make([]column.Text, column.Rows)
	}
	b := &column.Batch{Columns: columns}
	var r record.RowReader = record.NewShredder(columns)
	if form != nil {
		r = form.Shredder(columns)
	}
	n, end, err := r.Shred(b, append(lines, make([]byte, record.Padding)...), 0, len(lines))
	if err != nil {
		return "", false
	}
	if end != len(lines) {
		t.Fatalf("stopped at %d of %d", end, len(lines))
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

// TestRows: rows in their form are the records that reading them gives, as JSON and as columns.
func TestRows(t *testing.T) {
	shredded, kept := 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		odd := rapid.IntRange(0, 3).Draw(rt, "odd") == 0
		var text strings.Builder
		p := rowPlan
		if p.Header = rapid.Bool().Draw(rt, "header"); p.Header {
			text.WriteString("at,n,t,other,b,l,i\n")
		}
		for range rapid.IntRange(1, 8).Draw(rt, "rows") {
			var row []string
			for _, values := range rowValues {
				if !odd {
					values = values[:3]
				}
				row = append(row, rapid.SampledFrom(values).Draw(rt, "value"))
			}
			text.WriteString(strings.Join(row, ","))
			text.WriteString(rapid.SampledFrom([]string{"\n", "\n", "\r\n", "\n\n"}).Draw(rt, "end"))
		}
		piece, at := []byte(text.String()), Place{Line: 1, Header: p.Header}
		records, err := OpenRange(piece, p, at)
		if err != nil {
			rt.Fatal(err)
		}
		var want []string
		var ndjson []byte
		readOn(rt, records, func(g got) {
			want = append(want, fmt.Sprintf(`%s,"_line":%d}`, strings.TrimSuffix(g.text, "}"), g.line))
			ndjson = append(append(ndjson, want[len(want)-1]...), '\n')
		})
		lines, form, ok := AppendRows(nil, piece, p, at)
		if !ok {
			return
		}
		kept++
		for i, line := range strings.Split(strings.TrimSuffix(string(lines), "\n"), "\n") {
			rec, err := form.AppendRecord(nil, []byte(line))
			if err != nil || string(rec) != want[i] {
				rt.Fatalf("%q becomes %s, %v; want %s", line, rec, err, want[i])
			}
		}
		got, ok := rowsIn(rt, form, lines)
		if !ok {
			return
		}
		shredded++
		same, ok := rowsIn(rt, nil, ndjson)
		if !ok || got != same {
			rt.Fatalf("rows give\n%s\nrecords (%v)\n%s", got, ok, same)
		}
	})
	t.Logf("%d kept their form, %d of them became columns", kept, shredded)
	if kept == 0 || shredded == 0 {
		t.Error("nothing was compared")
	}
}

// FuzzRows: lines in their form give the records of the file, or none of it keeps it.
func FuzzRows(f *testing.F) {
	f.Add([]byte("2026-11-20T10:00:00Z,1.5,a,x,true,5,6\r\n\n,,,,,,\n"), false)
	f.Add([]byte("at,n,t,other,b,l,i\n\"a\",1,\"b\"\"c\",,,,\n"), true)
	f.Fuzz(func(t *testing.T, piece []byte, header bool) {
		at := Place{Line: 1, Header: header}
		lines, form, ok := AppendRows(nil, piece, rowPlan, at)
		if !ok {
			return
		}
		records, err := OpenRange(piece, rowPlan, at)
		if err != nil {
			t.Fatal(err)
		}
		defer records.Close()
		for len(lines) > 0 {
			line, rest, _ := strings.Cut(string(lines), "\n")
			lines = []byte(rest)
			rec, n, err := records.Next()
			if err != nil { // pieces with rejected rows are not referred to
				return
			}
			made, err := form.AppendRecord(nil, []byte(line))
			if want := fmt.Sprintf(`%s,"_line":%d}`, strings.TrimSuffix(string(rec), "}"), n); err != nil || string(made) != want {
				t.Fatalf("%q becomes %s, %v; want %s", line, made, err, want)
			}
		}
	})
}
