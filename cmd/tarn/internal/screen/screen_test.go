package screen

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestTable(t *testing.T) {
	var b bytes.Buffer
	cols := []Column{{"device", Left}, {"speed", Right}, {"note", Left}}
	if err := Table(&b, []Column{{"k\x1b[2J", Left}, {"\u009b2J", Right}}, [][]string{{"\x07\x7f", "\u202e"}}, Style{}); err != nil || strings.ContainsAny(b.String(), "\x1b\u009b\x07\x7f\u202e") {
		t.Errorf("%q, %v", b.String(), err)
	}
	b.Reset()
	rows := [][]string{{"w-1", "83.5", "line\nbreak"}, {"w-1042", "7", Null}, {"車両", "100", "\x1b[31mred"}}
	if err := Table(&b, cols, rows, Style{Rule: true}); err != nil {
		t.Fatal(err)
	}
	want := `device │ speed │ note
───────┼───────┼────────────
w-1    │  83.5 │ line\nbreak
w-1042 │     7 │ NULL
車両   │   100 │ ` + "\uFFFD[31mred\n"
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

// TestTableFits checks over random tables that no line is wider than the terminal, as long as
// every column can have its least width.
func TestTableFits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 8).Draw(t, "columns")
		cols := make([]Column, n)
		for i := range cols {
			cols[i].Name = rapid.String().Draw(t, "name")
		}
		rows := rapid.SliceOfN(rapid.SliceOfN(rapid.String(), n, n), 0, 5).Draw(t, "rows")
		limit := rapid.IntRange(n*(minColumn+3), 200).Draw(t, "width")
		var b bytes.Buffer
		if err := Table(&b, cols, rows, Style{Width: limit, Rule: true}); err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
		if len(lines) != len(rows)+2 {
			t.Fatalf("%d lines for %d rows", len(lines), len(rows))
		}
		for _, l := range lines {
			if width(l) > limit {
				t.Fatalf("line of %d cells over %d: %q", width(l), limit, l)
			}
		}
	})
}

// TestNumbersAreNotCut: the names of a table give way, its numbers do not.
func TestNumbersAreNotCut(t *testing.T) {
	cols := []Column{{"table", Left}, {"records in it", Right}}
	for limit, want := range map[int]string{
		40: "table           records in it\ncurated.events  1,602,017,455\n",
		22: "table    records in it\ncurate…  1,602,017,455\n",
		10: "table   records in it\ncurat…  1,602,017,455\n",
	} {
		var b bytes.Buffer
		if err := Table(&b, cols, [][]string{{"curated.events", "1,602,017,455"}}, Style{Width: limit}); err != nil || b.String() != want {
			t.Errorf("%d cells, %v: got\n%s", limit, err, b.String())
		}
	}
}

// TestBlocks: on a narrow terminal nothing of a row is cut.
func TestBlocks(t *testing.T) {
	cols := []Column{{"STREAM", Left}, {"SHARD", Right}, {"TABLE", Left}, {"ACCEPTED", Right}, {"IN TABLE", Right}, {"LEFT OUT", Right}, {"FAILED", Right}, {"PENDING", Right}, {"EXPIRED", Right}, {"", Left}}
	rows := [][]string{{"earthquakes", "0", "curated.earthquakes", "1,602,017", "1,602,000", "", "-", "17", "0", "ok"},
		{"telemetry", "1", "curated.telemetry", "1", "1", "0", "0", "0", "0", "WRONG"}}
	want := `earthquakes  0  curated.earthquakes
  accepted 1,602,017  in table 1,602,000  pending 17  expired 0  ok
telemetry  1  curated.telemetry
  accepted 1  in table 1  left out 0  failed 0  pending 0  expired 0  WRONG
`
	for limit, want := range map[int]string{80: want, 200: "STREAM       SHARD  TABLE"} {
		var b bytes.Buffer
		if err := Table(&b, cols, rows, Style{Width: limit, Head: 3}); err != nil || !strings.HasPrefix(b.String(), want) {
			t.Errorf("%d cells, %v: got\n%s", limit, err, b.String())
		}
	}
}

// TestBlocksFit: blocks hold every cell whole, and no line is wider than the terminal unless a cell is.
func TestBlocksFit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 8).Draw(t, "columns")
		cols := make([]Column, n)
		for i := range cols {
			cols[i].Name = rapid.StringMatching(`[A-Z ]{0,9}`).Draw(t, "name")
		}
		row := rapid.SliceOfN(rapid.StringMatching(`[a-z0-9.]{1,30}`), n, n).Draw(t, "row")
		limit := rapid.IntRange(44, 120).Draw(t, "width")
		var b bytes.Buffer
		if err := Table(&b, cols, [][]string{row}, Style{Width: limit, Head: rapid.IntRange(1, n).Draw(t, "head")}); err != nil {
			t.Fatal(err)
		}
		for _, l := range strings.Split(b.String(), "\n") {
			if width(l) > limit {
				t.Fatalf("line of %d cells over %d: %q", width(l), limit, l)
			}
		}
		for _, cell := range row {
			if !strings.Contains(b.String(), cell) {
				t.Fatalf("%q is not in\n%s", cell, b.String())
			}
		}
	})
}

func TestText(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{Count(0), "0"}, {Count(999), "999"}, {Count(1000), "1,000"}, {Count(-1234567), "-1,234,567"},
		{Bytes(12), "12 B"}, {Bytes(1536), "1.5 KiB"}, {Bytes(uint64(3) << 30), "3.0 GiB"},
		{Took(1500 * time.Microsecond), "1.5 ms"}, {Took(45 * time.Millisecond), "45 ms"}, {Took(1234 * time.Millisecond), "1.23 s"}, {Took(2 * time.Minute), "2m0s"},
		{Plural(1, "row"), "1 row"}, {Plural(0, "row"), "0 rows"}, {Plural(1200, "row"), "1,200 rows"},
		{Time(nil), "-"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}

// TestProse: prose is broken between words, and no line is wider than the terminal unless a word is.
func TestProse(t *testing.T) {
	for limit, want := range map[int]string{0: "a b c", 1: "a b c", 4: "a b\n  c", 80: "a b c"} {
		if got := Text("a b c", limit); got != want {
			t.Errorf("%d cells: got %q", limit, got)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		words := rapid.SliceOfN(rapid.StringMatching(`[^\s]{1,30}`), 1, 20).Draw(t, "words")
		limit := rapid.IntRange(3, 100).Draw(t, "width")
		var got []string
		for _, l := range strings.Split(Text(strings.Join(words, " "), limit), "\n") {
			in := strings.Split(strings.TrimPrefix(l, "  "), " ")
			if width(l) > limit && len(in) > 1 {
				t.Fatalf("line of %d cells over %d: %q", width(l), limit, l)
			}
			got = append(got, in...)
		}
		if !slices.Equal(got, words) {
			t.Fatalf("got %q, want %q", got, words)
		}
	})
}
