// Package screen renders for people: aligned tables cut to the width of the terminal, counts,
// sizes and times.
//
// Cells enter as text, lines leave on a writer. Nothing here knows a server or a command.
package screen

import (
	"bufio"
	"io"
	"strings"

	"github.com/mattn/go-runewidth"
)

// Align places a column.
type Align uint8

// The alignments.
const (
	Left Align = iota
	Right
)

// Column heads one column of a table.
type Column struct {
	Name  string
	Align Align
}

// Style says how a table looks.
type Style struct {
	Width int  // of the terminal in cells, 0 means unbounded
	Color bool // bold head and dim NULL, in ANSI escapes
	Rule  bool // a line under the head and bars between columns
	// Head makes of a table that is wider than Width a block for each row, so that nothing is cut: the
	// first Head cells on a line, and the others under it with the names of their columns. 0 cuts.
	Head int
}

// Null is how a missing value is shown.
const Null = "NULL"

// minColumn is the least a column is cut to.
const minColumn = 6

// Table writes rows under columns. Cells may hold any text: line breaks and other control
// characters are shown as escapes, wide characters count two cells. What is right-aligned is never
// cut: a number without its last digits is another number. A table that cannot be cut to the width
// is wider.
func Table(w io.Writer, cols []Column, rows [][]string, style Style) error {
	clean := make([][]string, len(rows))
	widths, least := make([]int, len(cols)), make([]int, len(cols))
	for i, c := range cols {
		widths[i], least[i] = max(1, width(Visible(c.Name))), minColumn
	}
	for r, row := range rows {
		clean[r] = make([]string, len(cols))
		for i := range cols {
			if i < len(row) {
				clean[r][i] = Visible(row[i])
			}
			widths[i] = max(widths[i], width(clean[r][i]))
			if cols[i].Align == Right {
				least[i] = max(least[i], width(clean[r][i]))
			}
		}
	}
	sep := "  "
	if style.Rule {
		sep = " │ "
	}
	out := bufio.NewWriter(w)
	if style.Head > 0 && style.Width > 0 && total(widths, width(sep)) > style.Width {
		for _, row := range clean {
			block(out, cols, row, style)
		}
		return out.Flush()
	}
	fit(widths, least, style.Width, width(sep))
	head := make([]string, len(cols))
	for i, c := range cols {
		head[i] = Visible(c.Name)
	}
	line(out, head, cols, widths, sep, style, true)
	if style.Rule {
		for i, n := range widths {
			if i > 0 {
				_, _ = out.WriteString("─┼─")
			}
			_, _ = out.WriteString(strings.Repeat("─", n))
		}
		_ = out.WriteByte('\n')
	}
	for _, row := range clean {
		line(out, row, cols, widths, sep, style, false)
	}
	return out.Flush()
}

func line(out *bufio.Writer, cells []string, cols []Column, widths []int, sep string, style Style, head bool) {
	for i := range cols {
		if i > 0 {
			_, _ = out.WriteString(sep)
		}
		text := runewidth.Truncate(cells[i], widths[i], "…")
		pad := strings.Repeat(" ", max(0, widths[i]-width(text)))
		if cols[i].Align == Right {
			_, _ = out.WriteString(pad)
		}
		switch {
		case style.Color && head:
			text = "\x1b[1m" + text + "\x1b[0m"
		case style.Color && text == Null:
			text = "\x1b[2m" + text + "\x1b[0m"
		}
		_, _ = out.WriteString(text)
		if cols[i].Align == Left && i < len(cols)-1 {
			_, _ = out.WriteString(pad)
		}
	}
	_ = out.WriteByte('\n')
}

// block writes a row without cutting it. Cells without a value are left out.
func block(out *bufio.Writer, cols []Column, row []string, style Style) {
	var head, rest []string
	for i, cell := range row {
		switch name := strings.ToLower(Visible(cols[i].Name)); {
		case i < style.Head:
			head = append(head, cell)
		case cell == "" || cell == "-":
		case name == "":
			rest = append(rest, cell)
		default:
			rest = append(rest, name+" "+cell)
		}
	}
	for _, l := range wrap(head, style.Width) {
		if style.Color {
			l = "\x1b[1m" + l + "\x1b[0m"
		}
		_, _ = out.WriteString(l + "\n")
	}
	const indent = "  "
	for _, l := range wrap(rest, style.Width-len(indent)) {
		_, _ = out.WriteString(indent + l + "\n")
	}
}

// wrap puts items on as few lines as have room for them in the limit. One that is wider has a line of its own.
func wrap(items []string, limit int) []string {
	const sep = "  "
	var lines []string
	for _, item := range items {
		if n := len(lines); n > 0 && width(lines[n-1])+len(sep)+width(item) <= limit {
			lines[n-1] += sep + item
		} else {
			lines = append(lines, item)
		}
	}
	return lines
}

// Text breaks a line of prose between its words so that it fits a width in cells; what goes on is indented.
// A word that is wider stays whole. 0 breaks nothing.
func Text(s string, limit int) string {
	const indent = "  "
	if limit <= len(indent) {
		return s
	}
	words := strings.Split(s, " ")
	lines := []string{words[0]}
	for _, w := range words[1:] {
		if n := len(lines) - 1; width(lines[n])+1+width(w) <= limit {
			lines[n] += " " + w
		} else {
			lines = append(lines, indent+w)
		}
	}
	return strings.Join(lines, "\n")
}

// total is the width of a table in cells.
func total(widths []int, sep int) int {
	n := sep * (len(widths) - 1)
	for _, w := range widths {
		n += w
	}
	return n
}

// fit cuts the widest columns until the table fits, each to no less than its least width.
func fit(widths, least []int, limit, sep int) {
	if limit <= 0 {
		return
	}
	total := total(widths, sep)
	for total > limit {
		widest := -1
		second := minColumn
		for i, n := range widths {
			switch {
			case n <= least[i]:
			case widest < 0 || n > widths[widest]:
				if widest >= 0 {
					second = max(second, widths[widest])
				}
				widest = i
			case n < widths[widest]:
				second = max(second, n)
			}
		}
		if widest < 0 {
			return
		}
		cut := max(1, min(total-limit, widths[widest]-second))
		cut = min(cut, widths[widest]-least[widest])
		widths[widest] -= cut
		total -= cut
	}
}

func width(s string) int { return runewidth.StringWidth(s) }

// Visible replaces control characters by escapes, so that data cannot steer a terminal.
func Visible(s string) string {
	if strings.IndexFunc(s, steers) < 0 {
		return s
	}
	var b strings.Builder
	for _, c := range s {
		switch {
		case c == '\n':
			b.WriteString(`\n`)
		case c == '\t':
			b.WriteString(`\t`)
		case c == '\r':
			b.WriteString(`\r`)
		case steers(c):
			b.WriteRune('\uFFFD')
		default:
			b.WriteRune(c)
		}
	}
	return b.String()
}

// steers reports control characters, and the marks that turn the direction of writing.
func steers(c rune) bool {
	return c < 0x20 || c >= 0x7f && c < 0xa0 || c >= 0x202a && c <= 0x202e || c >= 0x2066 && c <= 0x2069
}
