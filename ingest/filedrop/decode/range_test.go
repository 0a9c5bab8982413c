package decode

import (
	"errors"
	"hash/crc32"
	"io"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/tarn-data/tarn/record"
)

// got is what reading gave: a record, or why a piece is none, with its line.
type got struct {
	text string
	line int64
}

func readOn(rt *rapid.T, r Records, each func(got)) {
	for {
		rec, line, err := r.Next()
		var bad *Reject
		switch {
		case errors.As(err, &bad):
			each(got{"!" + bad.Detail, line})
		case err == io.EOF:
			return
		case err != nil:
			rt.Fatal(err)
		default:
			each(got{string(rec), line})
		}
	}
}

// TestRanges: a file that is parted at the places of its reader gives the records that it gives as a whole,
// and the checksums are those of its parts.
func TestRanges(t *testing.T) {
	pieces := []string{"a,b\n", "1,2\n", "\n", "\r\n", "\"x\ny\",z\r\n", "\"q\"\"q\",\n", "only\n", byteOrderMark, byteOrderMark + "u,v\n", "\"open\n", `{"a":1}` + "\n",
		" \n", "last", strings.Repeat("w", 300) + ",1\n"}
	rapid.Check(t, func(rt *rapid.T) {
		text := strings.Join(rapid.SliceOfN(rapid.SampledFrom(pieces), 1, 30).Draw(rt, "pieces"), "")
		if rapid.IntRange(0, 9).Draw(rt, "large") == 0 { // beyond what is read at once
			text = strings.Repeat("0123456789,\n", rapid.IntRange(1, 40_000).Draw(rt, "times")) + text + strings.Repeat("\n1,2", 50_000)
		}
		p := Plan{Format: rapid.SampledFrom([]Format{NDJSON, CSV, Text}).Draw(rt, "format"), Header: rapid.Bool().Draw(rt, "header"), RecordBytes: 200}
		p.Columns = []Column{{"a", TextKind}, {"b", NumberKind}}
		whole, err := Open(Input{Data: strings.NewReader(text)}, p)
		if err != nil {
			rt.Fatal(err)
		}
		placed := whole.(Placed)
		var want []got
		type cut struct {
			Place
			records int
		}
		cuts := []cut{{Place{0, 1, p.Header && p.Format == CSV}, 0}}
		every := rapid.IntRange(1, 10).Draw(rt, "every")
		if len(text) > 100_000 {
			every *= 1000
		}
		add := func(at Place, records int) {
			from := cuts[len(cuts)-1].Offset
			if sum := placed.Cut(at.Offset); sum != crc32.Checksum([]byte(text[from:at.Offset]), castagnoli) {
				rt.Fatalf("the sum of %d to %d is wrong", from, at.Offset)
			}
			cuts = append(cuts, cut{at, records})
		}
		readOn(rt, whole, func(g got) {
			if len(want) > 0 && len(want)%every == 0 {
				if len(want)%2 == 0 && g.text[0] != '!' {
					add(placed.Start(), len(want))
				} else {
					add(placed.Place(), len(want)+1)
				}
			}
			want = append(want, g)
		})
		add(placed.Place(), len(want))
		if end := cuts[len(cuts)-1]; end.Offset != int64(len(text)) {
			rt.Fatalf("the end is at %d of %d", end.Offset, len(text))
		}
		for i, c := range cuts[:len(cuts)-1] {
			end := cuts[i+1]
			if slices.ContainsFunc(want[c.records:end.records], func(g got) bool { return g.text[0] == '!' }) {
				continue // what is no record may be told by what follows it
			}
			r, err := OpenRange([]byte(text[c.Offset:end.Offset]), p, c.Place)
			if err != nil {
				rt.Fatal(err)
			}
			at := c.records
			readOn(rt, r, func(g got) {
				if at >= end.records || g != want[at] {
					rt.Fatalf("the piece at %d has %+v, want %+v", c.Offset, g, want[min(at, len(want)-1)])
				}
				at++
			})
			if at != end.records {
				rt.Fatalf("the piece at %d has %d records, want %d", c.Offset, at-c.records, end.records-c.records)
			}
		}
	})
}

// TestShapes: the shape and the size of a row are those of the record made of it.
func TestShapes(t *testing.T) {
	values := []string{"", `""`, "x", "12", " 12 ", "-1.5e3", "007", "123456789012345678", "1e999", "true", " FALSE", `"12"`, `"a""b"`, `""""`, `"x` + "\n\r\t" + `y"`, `a"b`, `a\b`, "\x01", "é", "\xff", "12345678", "1234567é"}
	rapid.Check(t, func(rt *rapid.T) {
		p := Plan{Format: CSV, RecordBytes: 1 << 20}
		for _, name := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b\"c", "long_name_of_a_column", "é", "eightlng"}), 2, 5, rapid.ID).Draw(rt, "columns") {
			p.Columns = append(p.Columns, Column{name, rapid.SampledFrom([]Kind{TextKind, NumberKind, BooleanKind}).Draw(rt, "kind")})
		}
		var rows []string
		for range rapid.IntRange(1, 5).Draw(rt, "rows") {
			rows = append(rows, strings.Join(rapid.SliceOfN(rapid.SampledFrom(values), len(p.Columns), len(p.Columns)).Draw(rt, "values"), ","))
		}
		open := func() Records {
			r, err := Open(Input{Data: strings.NewReader(strings.Join(rows, "\r\n"))}, p)
			if err != nil {
				rt.Fatal(err)
			}
			return r
		}
		made, shaped := open(), open().(Shaped)
		for {
			rec, line, err := made.Next()
			raw, size, shape, at, e := shaped.NextShape()
			if (err == nil) != (e == nil) || line != at {
				rt.Fatalf("%v at %d, %v at %d", err, line, e, at)
			}
			if err == io.EOF {
				return
			}
			if err != nil {
				continue
			}
			want, err := record.Shape(rec)
			if err != nil {
				want = 0
			}
			if shape != want || size != len(rec) || !slices.Contains(rows, string(raw)) {
				rt.Fatalf("%q gives %s of %d bytes and %x; it is said to have %d and %x", raw, rec, len(rec), want, size, shape)
			}
		}
	})
}
