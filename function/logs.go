package function

import (
	"context"
	"iter"
	"slices"
	"sync"
	"time"
)

// The streams of a Line.
const (
	Stdout = "stdout"
	Stderr = "stderr"
	System = "system" // written by the host: lines left out, a worker killed
)

// Line is one line of a function's output.
type Line struct {
	Time      time.Time `json:"time"`
	Function  string    `json:"function"`
	RequestID string    `json:"request_id,omitempty"` // of the invocation that ran; empty before the first
	Pipeline  string    `json:"pipeline,omitempty"`   // for which it ran
	Stream    string    `json:"stream"`               // stdout, stderr or system
	Line      string    `json:"line"`
}

// LogsOptions bound what Logs keeps. Zero values mean 10,000 lines and 4 MiB.
type LogsOptions struct {
	MaxLines int
	MaxBytes int
}

// Logs keeps the last lines of functions in memory (I8). Give each function its own, or one to
// several that may push out each other's lines. All methods may be called concurrently.
type Logs struct {
	opts LogsOptions

	mu    sync.Mutex
	lines []Line // oldest first
	first uint64 // number of lines[0]
	bytes int
	more  chan struct{} // closed and replaced at every Append
}

// NewLogs makes an empty Logs.
func NewLogs(o LogsOptions) *Logs {
	if o.MaxLines <= 0 {
		o.MaxLines = 10_000
	}
	if o.MaxBytes <= 0 {
		o.MaxBytes = 4 << 20
	}
	return &Logs{opts: o, more: make(chan struct{})}
}

// lineOverhead is about what a Line takes beyond its text.
const lineOverhead = 128

// Append adds a line and drops the oldest ones over the bounds. It never blocks for long.
func (l *Logs) Append(line Line) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, line)
	l.bytes += len(line.Line) + lineOverhead
	drop := 0
	for len(l.lines)-drop > l.opts.MaxLines || l.bytes > l.opts.MaxBytes && drop < len(l.lines)-1 {
		l.bytes -= len(l.lines[drop].Line) + lineOverhead
		drop++
	}
	clear(l.lines[:drop]) // the array lives on; the text need not
	l.lines = l.lines[drop:]
	l.first += uint64(drop)
	close(l.more)
	l.more = make(chan struct{})
}

// Tail returns the last n lines, oldest first; all that are kept when n is negative.
func (l *Logs) Tail(n int) []Line {
	l.mu.Lock()
	defer l.mu.Unlock()
	lines := l.lines
	if n >= 0 && n < len(lines) {
		lines = lines[len(lines)-n:]
	}
	return slices.Clone(lines)
}

// Follow yields the last n lines, all when n is negative, and then every new one until ctx ends. A
// reader slower than the functions misses lines rather than holding them up.
func (l *Logs) Follow(ctx context.Context, n int) iter.Seq[Line] {
	return func(yield func(Line) bool) {
		l.mu.Lock()
		next := l.first + uint64(len(l.lines))
		if n < 0 || uint64(n) > next-l.first {
			next = l.first
		} else {
			next -= uint64(n)
		}
		l.mu.Unlock()
		for {
			lines, more := l.since(&next)
			for _, line := range lines {
				if !yield(line) {
					return
				}
			}
			select {
			case <-more:
			case <-ctx.Done():
				return
			}
		}
	}
}

// since returns the lines from number *next on, moves it behind them, and returns a channel that
// closes when there are more.
func (l *Logs) since(next *uint64) ([]Line, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	*next = max(*next, l.first)
	lines := slices.Clone(l.lines[*next-l.first:])
	*next += uint64(len(lines))
	return lines, l.more
}
