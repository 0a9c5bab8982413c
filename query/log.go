package query

import (
	"sync"
	"time"

	"github.com/tarn-data/tarn"
)

const queryLogName = "query_log"

// LogEntry is one statement of system.query_log.
type LogEntry struct {
	SQL         string
	Started     time.Time
	Elapsed     time.Duration // until its result was closed
	FilesTotal  int           // of the tables it named
	FilesOpened int           // left after pruning
	Rows        int64         // read by the client
	Code        tarn.Code     // "" for success
	Error       string        // as the user saw it
}

// queryLog keeps the last 1,000 statements.
type queryLog struct {
	mu   sync.Mutex
	ring []LogEntry
	next int
}

const queryLogSize = 1000

func newQueryLog() *queryLog { return &queryLog{} }

func (l *queryLog) add(e LogEntry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(e.SQL) > 4096 {
		e.SQL = e.SQL[:4096]
	}
	if len(l.ring) < queryLogSize {
		l.ring = append(l.ring, e)
		return
	}
	l.ring[l.next] = e
	l.next = (l.next + 1) % queryLogSize
}

// entries returns the log, oldest first.
func (l *queryLog) entries() []LogEntry {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]LogEntry, 0, len(l.ring))
	out = append(out, l.ring[l.next:]...)
	return append(out, l.ring[:l.next]...)
}

func (l *queryLog) table() (tarn.Schema, [][]any) {
	field := func(name string, k tarn.Kind) tarn.Field { return tarn.Field{Name: name, Type: tarn.Type{Kind: k}} }
	schema := tarn.Schema{Fields: []tarn.Field{field("started_at", tarn.Timestamp), field("elapsed_ms", tarn.Double), field("sql", tarn.String),
		field("rows", tarn.Long), field("files_total", tarn.Long), field("files_opened", tarn.Long), field("code", tarn.String), field("error", tarn.String)}}
	var rows [][]any
	for _, e := range l.entries() {
		row := []any{e.Started, float64(e.Elapsed.Microseconds()) / 1000, e.SQL, e.Rows, e.FilesTotal, e.FilesOpened, nil, nil}
		if e.Code != "" {
			row[6], row[7] = string(e.Code), e.Error
		}
		rows = append(rows, row)
	}
	return schema, rows
}

// Log returns the last statements, oldest first.
func (s *Service) Log() []LogEntry { return s.log.entries() }
