package jetstream

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
)

// logger passes what the server warns of to slog. What it tells besides is of no use to an
// operator of Tarn.
type logger struct {
	out *slog.Logger

	mu   sync.Mutex
	last string // what the server gave up for
}

// routine are warnings about what Tarn does on purpose, and about recovery after a kill, which the
// server then does without loss.
var routine = [...]string{"Maximum payloads over", "Stream state outdated", "Recovering stream state from index errored"}

func newLogger(out *slog.Logger) *logger {
	return &logger{out: out.With("component", "nats")}
}

func (l *logger) Noticef(string, ...any) {}
func (l *logger) Debugf(string, ...any)  {}
func (l *logger) Tracef(string, ...any)  {}

func (l *logger) Warnf(format string, v ...any) {
	level := slog.LevelWarn
	for _, text := range routine {
		if strings.Contains(format, text) {
			level = slog.LevelDebug
		}
	}
	l.log(level, format, v)
}

func (l *logger) Errorf(format string, v ...any) { l.log(slog.LevelError, format, v) }

// Fatalf notes why the server does not start. The server then returns from Start, and the process
// goes on without it.
func (l *logger) Fatalf(format string, v ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last = fmt.Sprintf(format, v...)
	l.log(slog.LevelError, format, v)
}

// fatal returns what the server gave up for.
func (l *logger) fatal() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last
}

func (l *logger) log(level slog.Level, format string, v []any) {
	l.out.Log(context.Background(), level, fmt.Sprintf(format, v...))
}
