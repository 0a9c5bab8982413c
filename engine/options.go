package engine

import (
	"log/slog"
	"path/filepath"
	"runtime"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/project"
)

// DataFolder is the data folder within a project, unless another is named. It is hidden, so that
// the project's own files stay in view.
const DataFolder = ".tarn"

// Options says what to run. The zero value of a field means its default.
type Options struct {
	Project string // folder of the project; default "."
	Data    string // data folder; default PROJECT/.tarn
	Listen  string // HTTP address; default what the project says
	Version string
	// Watch makes the engine follow edits of the project. Without it, only Reload does.
	Watch  bool
	Logger *slog.Logger // default discards

	// Maintenance is the pause between rounds of table maintenance; default 30 s, negative is never.
	Maintenance time.Duration
}

func (o Options) withDefaults() (Options, error) {
	if o.Project == "" {
		o.Project = "."
	}
	abs, err := filepath.Abs(o.Project)
	if err != nil {
		return o, err
	}
	o.Project = abs
	if o.Data == "" {
		o.Data = filepath.Join(abs, DataFolder)
	}
	if o.Data, err = filepath.Abs(o.Data); err != nil {
		return o, err
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Maintenance == 0 {
		o.Maintenance = 30 * time.Second
	}
	return o, nil
}

// budget splits the memory a project grants the process (I8). The parts bound different stores: Go
// heap for requests and streams, DuckDB for conversion, DuckDB for queries.
type budget struct {
	process  int64 // all of it
	bodies   int64 // request bodies in flight
	pending  int64 // appended and not durable yet, per stream
	tail     int64 // recent messages kept for readers, per shard
	chunk    int64 // record data converted at once
	requests int   // idempotent requests remembered, per shard
	files    int   // descriptions of table files kept in memory
	delivery int64 // DuckDB for conversions
	query    int64 // DuckDB for queries
	twins    int64 // values of twins kept in memory
	heap     int64 // soft limit of the Go heap
}

func newBudget(l project.Limits, shards int, twins bool) (budget, error) {
	const least = 256 << 20
	if l.MemoryBytes < least {
		return budget{}, &tarn.Error{Code: tarn.CodeInvalid, Detail: "limits.memory is less than 256MiB", Hint: "raise it in tarn.yaml"}
	}
	// A quarter is for what nobody counts: the program itself, DuckDB's memory outside its bound, and
	// what allocators keep.
	total := l.MemoryBytes / 4 * 3
	b := budget{process: l.MemoryBytes, query: l.QueryMemoryBytes}
	if b.query <= 0 || b.query > total/2 {
		b.query = total / 4
	}
	if b.twins = total / 32; twins {
		b.twins = total / 4
		total -= b.twins
		b.query = min(b.query, total/2)
	}
	b.delivery = max((total-b.query)/2, 64<<20)
	b.heap = max(total-b.query-b.delivery, 96<<20)
	b.bodies = max(b.heap/4, l.BodyBytes)
	b.pending = max(b.heap/4, 2*l.BodyBytes)
	b.tail = min(16<<20, max(b.heap/8/int64(max(shards, 1)), 1<<20))
	b.requests = int(max(b.heap/16/128/int64(max(shards, 1)), 10_000)) // about 128 bytes each
	b.files = int(max(b.heap/16/3072, 2_000))                          // about 3 KiB each
	b.chunk = min(128<<20, max(total/8, 8<<20))
	if twins {
		b.heap += b.twins
	}
	return b, nil
}

// threads is how many threads a DuckDB instance gets: conversion and queries share the machine, and
// the scheduler of the operating system settles who runs.
func threads() int { return max(1, runtime.GOMAXPROCS(0)) }
