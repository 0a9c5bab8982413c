package engine

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/duck"
	"github.com/tarn-data/tarn/ingest/filedrop"
	"github.com/tarn-data/tarn/ingest/filedrop/decode"
	"github.com/tarn-data/tarn/project"
	"github.com/tarn-data/tarn/record"
	"github.com/tarn-data/tarn/server"
	"github.com/tarn-data/tarn/stream"
)

// dropped is what the file doors of all pipelines share.
type dropped struct {
	slots     *semaphore.Weighted // files that are read at once (I8)
	originals *filedrop.Originals

	mu  sync.Mutex
	sql *duck.DB // for Parquet and conditions; opened when first needed
}

// filesMemory bounds the SQL engine that reads dropped files (I8).
const filesMemory = 128 << 20

// fileSQL returns the SQL engine for dropped files. It has one thread: rows keep the order of the file.
func (e *Engine) fileSQL() (*duck.DB, error) {
	f := &e.dropped
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.sql != nil {
		return f.sql, nil
	}
	spill := e.path("staging", "spill", "files")
	if err := os.MkdirAll(spill, 0o755); err != nil {
		return nil, err
	}
	var err error
	f.sql, err = duck.Open(duck.Options{MemoryBytes: filesMemory, Threads: 1, TempDir: spill, AllowedDirs: []string{e.bucket.URL("raw/files")}, Logger: e.log})
	return f.sql, err
}

// unreadRetention is for streams that no pipeline reads, so that nobody says how long they keep records: the
// default. A pipeline that comes back, perhaps under another name, finds what it left.
const unreadRetention = 168 * time.Hour

// refersTo reports whether the record of a dropped file at a position of a stream may still be read there.
func (e *Engine) refersTo(ctx context.Context, name string, at tarn.Position, appended time.Time) (bool, error) {
	p, keep := e.running.Load().streams[name], unreadRetention
	if p != nil {
		keep = p.spec.Stream.Retention
	}
	// The last message of a shard outlives its retention.
	if keep > 0 && e.ages.now().Sub(appended) > keep {
		return false, nil
	}
	if p == nil {
		return true, nil
	}
	st, err := p.stream.State(ctx, at.Shard)
	return st.First <= at.Offset, err
}

// closeFiles ends what the file doors share.
func (e *Engine) closeFiles() error {
	e.dropped.mu.Lock()
	defer e.dropped.mu.Unlock()
	if e.dropped.sql == nil {
		return nil
	}
	return e.dropped.sql.Close()
}

// fileDoor returns the door through which files come into a pipeline. Without a folder of its own it
// takes those that are pushed.
func (e *Engine) fileDoor(spec project.Pipeline, s *stream.Stream) (*filedrop.Door, error) {
	m, name := e.metrics, s.Name()
	o := filedrop.Options{
		Pipeline: spec.Name, Stream: s, Shards: spec.Stream.Shards, KeyPath: spec.Stream.PartitionKey,
		Limits: record.Limits{RecordBytes: int(e.limits.RecordBytes)},
		DB:     e.db, Bucket: e.bucket, Originals: e.dropped.originals, Spool: e.path("staging", "runs"), SQL: e.fileSQL, Slots: e.dropped.slots, Admit: e.admit,
		Hints: decode.Hints{Format: decode.Auto, Declared: spec.Schema}, Logger: e.log,
		Count: func(accepted, rejected, bytes int64) {
			m.IngestRecords.WithLabelValues(name).Add(float64(accepted))
			m.IngestRejected.WithLabelValues(name).Add(float64(rejected))
			m.IngestBytes.WithLabelValues(name).Add(float64(bytes))
		},
	}
	for _, d := range spec.Deliveries {
		o.Routes = append(o.Routes, filedrop.Route{Name: d.Name, When: d.When})
	}
	if f := spec.Source.Files; f != nil {
		o.Folder, o.Match, o.Settle = f.Path, f.Match, f.Settle
		if !filepath.IsAbs(f.Path) {
			o.Folder = e.bucket.URL(f.Path)
		}
		o.Hints.Format = decode.Format(f.Format)
		o.Hints.Delimiter, o.Hints.Header, o.Hints.Encoding = f.CSV.Delimiter, f.CSV.Header, f.CSV.Encoding
	}
	return filedrop.New(o)
}

// runs answers POST /v1/pipelines/{pipeline}/runs.
func (e *Engine) runs() http.Handler {
	return filedrop.NewHandler(filedrop.HandlerOptions{Problem: server.Problems{Logger: e.log}.Write, Door: func(name string) (*filedrop.Door, error) {
		if err := e.admit(); err != nil {
			return nil, err
		}
		p := e.running.Load().byName[name]
		if p == nil {
			return nil, server.NotFound("pipeline", name, nil)
		}
		if p.files == nil {
			return nil, &tarn.Error{Code: tarn.CodeUnsupported, Detail: fmt.Sprintf("the records of the pipeline %s are opaque; a file of it cannot be parted into records", name), Hint: "post its records to /v1/streams/" + p.stream.Name() + "/records"}
		}
		return p.files, nil
	}})
}

// maxTakenRows bounds what one query reads of the taken files (I8).
const maxTakenRows = 200_000

// takenRows are the rows of system.taken_files. It fails rather than leave out rows, which would make
// every count wrong.
func takenRows(ctx context.Context, e *Engine) ([][]any, error) {
	n, err := e.dropped.originals.Count(ctx)
	if err != nil {
		return nil, err
	}
	if n > maxTakenRows {
		return nil, &tarn.Error{Code: tarn.CodeTooLarge, Detail: fmt.Sprintf("%d files were taken; system.taken_files shows at most %d", n, maxTakenRows),
			Hint: "read the table taken_files of the metadata database itself"}
	}
	rows := make([][]any, 0, n)
	err = e.dropped.originals.Each(ctx, func(t filedrop.TakenFile) error {
		var code, fault, original any
		if t.Fault != nil {
			code, fault = string(t.Fault.Code), t.Fault.Detail
		}
		if t.Original != "" {
			original = e.bucket.URL(t.Original)
		}
		rows = append(rows, []any{t.Pipeline, t.File, t.Hash, t.Algorithm, t.Take, t.Bytes, t.Format, t.Accepted, t.Rejected, t.State, code, fault,
			t.ModifiedAt, t.TakenAt, timeOrNull(t.FinishedAt), original})
		return nil
	})
	return rows, err
}

// maintainFiles applies the lifecycle of the zone raw to the originals of taken files. last notes when
// each task ran.
func (e *Engine) maintainFiles(last map[string]time.Time) {
	zone, now := e.running.Load().project.Zones.Raw, time.Now()
	expire := func(ctx context.Context) (filedrop.Removed, error) {
		var before time.Time
		if zone.ExpireAfter > 0 {
			before = now.Add(-zone.ExpireAfter)
		}
		return e.dropped.originals.Expire(ctx, before, zone.KeepVersions)
	}
	orphans := func(ctx context.Context) (filedrop.Removed, error) {
		return e.dropped.originals.RemoveOrphans(ctx, now.Add(-orphanAge))
	}
	for _, task := range []struct {
		name  string
		every time.Duration
		due   bool
		run   func(context.Context) (filedrop.Removed, error)
	}{{"expire", expireEvery, zone != (project.Zone{}), expire}, {"orphans", orphansEvery, true, orphans}} {
		key := "raw/files " + task.name
		if !task.due || now.Sub(last[key]) < task.every {
			continue
		}
		last[key] = now
		e.maintenance.Lock()
		done, err := task.run(e.ctx)
		e.maintenance.Unlock()
		if err != nil && e.ctx.Err() == nil {
			e.log.Error("maintenance of the originals of files failed", "task", task.name, "error", err)
		} else if done.Objects > 0 {
			e.log.Info("originals of files removed", "task", task.name, "objects", done.Objects, "bytes", done.Bytes)
		}
	}
}
