package query

import (
	"context"
	"log/slog"
	"runtime"
	"time"

	"github.com/tarn-data/tarn"
)

// Options says what the service reads and how much it may use. Source is required.
type Options struct {
	Source Source
	System SystemTables // may be nil

	MemoryBytes int64    // of DuckDB for all statements together; 0 = 512 MiB
	Threads     int      // 0 = one per CPU
	TempDir     string   // for spilling and for Parquet results on their way; "" = the system's, without spilling
	AllowedDirs []string // where the files of views lie; users can not name files at all
	// Reach names the folders besides AllowedDirs that files of views lie in now. It is asked for
	// every statement and should be cheap. Another answer than before starts a new DuckDB instance,
	// whose sandbox it is part of. May be nil.
	Reach func(context.Context) ([]string, error)

	MaxConcurrent int           // statements running; 0 = 4 × threads; as many again wait, more are refused with tarn.CodeBusy
	Timeout       time.Duration // of one statement, from its start to the last row read; 0 = 5 min
	MaxRows       int64         // of one result; 0 = no bound; over it the result ends with tarn.CodeTooLarge
	// MaxResidentBytes interrupts statements while the process uses more memory than this; DuckDB
	// does not count every byte it takes. 0 = no such guard.
	MaxResidentBytes int64

	Logger  *slog.Logger   // nil discards
	OnQuery func(LogEntry) // called after each statement; may be nil
	Clock   func() time.Time
}

// maxSQLBytes bounds the text: DuckDB's parser takes time in the square of some texts and can not be
// interrupted. Long lists of values go into parameters.
const maxSQLBytes = 128 << 10

func (o Options) withDefaults() (Options, error) {
	if o.Source == nil {
		return o, &tarn.Error{Code: tarn.CodeInternal, Detail: "the SQL service has no source of tables"}
	}
	if o.Threads == 0 {
		o.Threads = runtime.NumCPU()
	}
	if o.MaxConcurrent == 0 {
		o.MaxConcurrent = 4 * o.Threads
	}
	if o.Timeout == 0 {
		o.Timeout = 5 * time.Minute
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	return o, nil
}

// maxCachedBytes bounds the texts of which the analysis is kept, 1,000 of them.
const maxCachedBytes = 8 << 10

// Request is one statement.
type Request struct {
	SQL    string
	Params []any // for $1, $2, … or ?: nil, bool, numbers, string, time.Time, []byte, []any of them
	At     *AsOf // of every table that has no AT of its own
	Format Format
	// Timeout lowers Options.Timeout when it is not 0.
	Timeout time.Duration
}
