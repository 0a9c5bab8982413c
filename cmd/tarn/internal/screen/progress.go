package screen

import (
	"fmt"
	"io"
	"time"

	"github.com/mattn/go-runewidth"
)

// Line is one line on a terminal that says how far something is. Elsewhere it is silent.
type Line struct {
	w     io.Writer // nil when not a terminal
	last  time.Time
	shown bool
}

// Progress returns a line on w.
func Progress(w io.Writer) *Line {
	if _, ok := Terminal(w); !ok {
		w = nil
	}
	return &Line{w: w}
}

// Show repaints the line, a few times a second at most.
func (l *Line) Show(format string, args ...any) {
	if l.w == nil || time.Since(l.last) < 100*time.Millisecond {
		return
	}
	l.last, l.shown = time.Now(), true
	columns, _ := Terminal(l.w)
	// A line that reaches the edge goes on below it, and could not be removed again.
	fmt.Fprint(l.w, "\r\x1b[K"+runewidth.Truncate(Visible(fmt.Sprintf(format, args...)), columns-1, "…"))
}

// Clear removes the line.
func (l *Line) Clear() {
	if l.shown {
		fmt.Fprint(l.w, "\r\x1b[K")
	}
	l.shown = false
}
