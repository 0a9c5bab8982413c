package decode

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// TestMarks: what is marked is what a look at each byte says, for every byte and with any delimiter.
func TestMarks(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	text := make([]byte, 64*markBlocks+63)
	for i := range text {
		text[i] = byte(r.Uint32())
	}
	for i := range 256 {
		text[i] = byte(i)
	}
	for _, delim := range []byte(",;\t| :") {
		want := marks{}
		for i, c := range text[:64*markBlocks] {
			bit := uint64(1) << (i % 64)
			switch {
			case c == delim || c == '\n' || c == '"':
				want.ends[i/64] |= bit
			case c < ' ' || c >= 0x80 || c == '\\':
				want.odd[i/64] |= bit
			}
		}
		for name, f := range map[string]func(ends, odd []uint64, text []byte, delim byte){"mark": mark, "markWords": markWords} {
			got := marks{}
			f(got.ends[:], got.odd[:], text, delim)
			if got != want {
				t.Errorf("%s with %q: %x, want %x", name, delim, got, want)
			}
		}
	}
}

// TestPlainRows: a row is plain or not whatever stands in its neighbours, and its line break is no part of it.
func TestPlainRows(t *testing.T) {
	for _, end := range []string{"\n", "\r\n"} {
		text := strings.Repeat("a,\"b c\",12"+end+"a,\tb,"+end+"a,b,12"+end+"a,ä,"+end, 500)
		rows := newTable(&source{r: blocksOf([]byte(text), 100)}, Plan{})
		n, plain := 0, [4]int{}
		for ; rows.r.at < len(text)-100; n++ {
			size := rows.markedRow()
			if size == 0 {
				t.Fatalf("%q: row %d is not found", end, n)
			}
			if rows.plain {
				plain[n%4]++
			}
			rows.r.skip(size)
		}
		if most := n / 5; plain[0] < most || plain[1] > 0 || plain[2] < most || plain[3] > 0 { // few line breaks lie in two blocks
			t.Errorf("%q: of %d rows of each kind %v are plain", end, n/4, plain)
		}
	}
}

// FuzzRow: the fields of a row are the same by its marks and by a look at each, and a row that is said to be plain is.
func FuzzRow(f *testing.F) {
	f.Add("a,b\r\n\"c,\"\"\nd\",\"\"\n\"e\"f,g\nh\"i,\"j\n", byte(','), 0)
	f.Add("1;2\n\n\"\t\";\\\n\"\"\"\";\"\"\"\n", byte(';'), 61)
	f.Add("\"\t\"\t\"x\"\r\r\n\"y\r\n\"\tä\r\n", byte('\t'), 126)
	f.Fuzz(func(t *testing.T, text string, delim byte, lead int) {
		if delim == '"' || delim == '\n' || delim == '\r' || delim >= 0x80 {
			return
		}
		text = strings.Repeat("y", lead&1023) + "\n" + text + strings.Repeat("\nz", 100)
		p := Plan{Format: CSV, Delimiter: string(rune(delim)), RecordBytes: 300}
		marked := newTable(&source{r: blocksOf([]byte(text), p.RecordBytes)}, p)
		plainly := newTable(&source{r: blocksOf([]byte(text), p.RecordBytes)}, p)
		for marked.r.at < len(text) {
			before := marked.r.at
			size, err := marked.row()
			if size == 0 && marked.r.at == before {
				t.Fatalf("at %d: nothing and %v", before, err)
			}
			want, wanted := plainly.anyRow()
			if size != want || (err == nil) != (wanted == nil) || marked.r.line != plainly.r.line || marked.r.at != plainly.r.at {
				t.Fatalf("at %d line %d: %d, %v; want at %d line %d: %d, %v", marked.r.at, marked.r.line, size, err, plainly.r.at, plainly.r.line, want, wanted)
			}
			if err != nil {
				continue
			}
			if !slices.Equal(marked.fields, plainly.fields) {
				t.Fatalf("%q: %v, want %v", marked.r.rest()[:size], marked.fields, plainly.fields)
			}
			for _, f := range marked.fields {
				value := marked.r.rest()[f.start:f.end]
				want := len(value) + 2
				if f.doubled {
					want += strings.Count(string(value), `""`) * 2
				}
				if n, ok := stringSize(value); marked.plain && (n != want || !ok || utf8.RuneCount(value) != len(value)) {
					t.Fatalf("%q is said to be plain", value)
				}
			}
			marked.r.skip(size)
			plainly.r.skip(size)
		}
	})
}
