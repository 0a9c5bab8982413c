package extract

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/delivery"
	"github.com/tarn-data/tarn/lake"
	"github.com/tarn-data/tarn/stream"
	"github.com/tarn-data/tarn/table"
)

// StreamOptions say which stream rows go to. Fields without a default are required.
type StreamOptions struct {
	Delivery string             // name that progress is kept under
	To       *stream.Stream     // gets each row as a JSON object
	Shards   int                // among which rows are divided; default 1
	KeyPath  string             // the column whose value decides the shard; default none
	Store    delivery.SinkStore // keeps progress and failed records
	State    lake.Bucket        // keeps rows until they are in the stream, under Delivery/
	Admit    func() error       // refuses while the disk is nearly full; default never
	Logger   *slog.Logger       // default discards
	// Settling is held while failed records of the delivery are tried again or discarded. Default: none are.
	Settling *sync.Mutex
}

// StreamSink appends rows to a stream, exactly once. Rows and progress lie in different stores, so a
// commit has two steps: the rows are made durable as files and announced together with what follows
// from them, where the stream ends at that moment, and the request ids they will have. Then they are
// appended, and the announcement is settled. A session that finds an announcement reads the stream from
// the ends noted, to find what is there, and appends the rest of the files.
type StreamSink struct {
	o        StreamOptions
	fields   []tarn.Field
	settle   settle
	document string // that announces
	rows     string // how files of rows begin
}

// NewStreamSink returns a sink that has done nothing yet.
func NewStreamSink(o StreamOptions) *StreamSink {
	o.Shards = max(o.Shards, 1)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Admit == nil {
		o.Admit = func() error { return nil }
	}
	return &StreamSink{o: o, document: announcedDocument, rows: "rows-"}
}

// announcedDocument holds the announcement of a commit.
const announcedDocument = "announced"

// announcementVersion is 2; version 1 had one file of rows.
const announcementVersion = 2

// announcement is a commit on its way.
type announcement struct {
	Version  int
	Keys     []string  // of the rows in the state bucket, NDJSON, in order
	Key      string    // in place of Keys in version 1
	Request  string    // prefix of the ids of the requests, in hexadecimal
	Arrival  time.Time // of the rows
	Shards   int
	KeyPath  string
	Bytes    int             // of a request, about
	Cursors  []stream.Cursor // the ends of the shards when it was announced
	Progress []table.Progress
	Failed   []table.FailedRecord
	Docs     map[string][]byte
	// Of failed records that were tried again.
	Resolve []int64              `json:",omitempty"`
	Again   []table.FailedRecord `json:",omitempty"`
	Book    []table.Booking      `json:",omitempty"`
}

// series names the requests that bring the rows into the stream.
func (a *announcement) series() (stream.Series, error) {
	id, err := hex.DecodeString(a.Request)
	if err != nil || len(id) != len(stream.Series{}) {
		return stream.Series{}, fmt.Errorf("%q is no request id", a.Request)
	}
	return stream.Series(id), nil
}

// commit is what follows once all rows are in the stream.
func (a *announcement) commit(document string) table.Commit {
	docs := maps.Clone(a.Docs)
	if docs == nil {
		docs = map[string][]byte{}
	}
	docs[document] = nil
	return table.Commit{Progress: a.Progress, Failed: a.Failed, Resolve: a.Resolve, Again: a.Again, Book: a.Book, Documents: docs}
}

// Begin implements delivery.Sink.
func (s *StreamSink) Begin(ctx context.Context) (map[string][]byte, []table.ProgressRow, error) {
	docs, err := s.o.Store.Documents(ctx, s.o.Delivery)
	if err != nil {
		return nil, nil, err
	}
	if doc := docs[s.document]; doc != nil {
		var a announcement
		if err := json.Unmarshal(doc, &a); err != nil || a.Version > announcementVersion {
			return nil, nil, fmt.Errorf("the announcement of %s, version %d: %w", s.o.Delivery, a.Version, err)
		}
		if a.Version == 1 {
			a.Keys = []string{a.Key}
		}
		if err := s.finish(ctx, s.o.Store, &a, true); err != nil {
			return nil, nil, err
		}
		if docs, err = s.o.Store.Documents(ctx, s.o.Delivery); err != nil {
			return nil, nil, err
		}
	}
	if s.document == announcedDocument {
		if err := s.settleRetry(ctx, docs); err != nil {
			return nil, nil, err
		}
	}
	rows, err := s.o.Store.Progress(ctx, s.o.Delivery)
	if err != nil {
		return nil, nil, err
	}
	return docs, rows, s.sweep(ctx)
}

// sweep removes the rows of commits that were never announced.
func (s *StreamSink) sweep(ctx context.Context) error {
	for info, err := range s.o.State.List(ctx, s.o.Delivery+"/"+s.rows) {
		if err != nil {
			return err
		}
		if err := s.o.State.Delete(ctx, info.Key); err != nil {
			return err
		}
	}
	return nil
}

// End implements delivery.Sink.
func (s *StreamSink) End() {}

// Columns implements delivery.Sink: a stream takes all.
func (s *StreamSink) Columns(_ context.Context, fields []tarn.Field) ([]tarn.Field, error) {
	s.fields = fields
	return fields, nil
}

// Lines implements delivery.Sink.
func (s *StreamSink) Lines() string { return jsonColumns(s.fields) }

// Commit implements delivery.Sink.
func (s *StreamSink) Commit(ctx context.Context, rows delivery.SinkRows, c table.Commit) error {
	c, err := s.settle.of(c)
	if err != nil {
		return err
	}
	if rows.Count == 0 {
		return s.o.Store.Record(ctx, s.o.Delivery, c, nil)
	}
	return s.append(ctx, s.o.Store, rows.Files, c)
}

// jsonColumns is a select list that writes columns as streams have them: times in ISO 8601, JSON as it
// is.
func jsonColumns(fields []tarn.Field) string {
	var list []string
	for _, f := range fields {
		name := tarn.QuoteIdent(f.Name)
		switch f.Type.Kind {
		case tarn.JSON:
			list = append(list, "CAST("+name+" AS JSON) AS "+name)
		case tarn.Timestamp, tarn.TimestampTZ:
			list = append(list, "strftime("+name+"::TIMESTAMP, '%Y-%m-%dT%H:%M:%S.%fZ') AS "+name)
		default:
			list = append(list, name)
		}
	}
	return strings.Join(list, ", ")
}

const (
	// requestBytes is about the size of one request to the stream.
	requestBytes = 2 << 20
	// requestRoom is kept free in a message for what goes before the rows.
	requestRoom = 4 << 10
)

// append brings the rows of NDJSON files into the stream together with c (I2). The files may be gone
// afterwards. Failed records that c settles must be there still when the rows are announced: what somebody
// else has settled gives no rows a second time.
func (s *StreamSink) append(ctx context.Context, store delivery.SinkStore, files []string, c table.Commit) error {
	id := uuid.New()
	a := announcement{Version: announcementVersion, Request: hex.EncodeToString(id[:len(stream.Series{})]), Arrival: time.Now().UTC().Truncate(time.Microsecond),
		Shards: s.o.Shards, KeyPath: s.o.KeyPath, Bytes: min(requestBytes, s.o.To.MaxMessage()/2-requestRoom), Progress: c.Progress, Failed: c.Failed, Docs: c.Documents,
		Resolve: c.Resolve, Again: c.Again, Book: c.Book}
	var err error
	if a.Cursors, err = s.o.To.Cursors(ctx); err != nil {
		return err
	}
	var moves []lake.Local
	for i, file := range files {
		a.Keys = append(a.Keys, fmt.Sprintf("%s/%s%s-%d.ndjson", s.o.Delivery, s.rows, a.Request, i))
		moves = append(moves, lake.Local{Key: a.Keys[i], Path: file})
	}
	if err := lake.PutFiles(ctx, s.o.State, moves); err != nil {
		return err
	}
	doc, err := json.Marshal(&a)
	if err != nil {
		return err
	}
	if err := store.Record(ctx, s.o.Delivery, table.Commit{Expect: settles(c), Documents: map[string][]byte{s.document: doc}}, nil); err != nil {
		return err
	}
	return s.finish(ctx, store, &a, false)
}

// finish appends the rows of an announcement and settles it. With again, some may be in the stream.
func (s *StreamSink) finish(ctx context.Context, store delivery.SinkStore, a *announcement, again bool) error {
	ids, err := a.series()
	if err != nil {
		return fmt.Errorf("the announcement of %s: %w", s.o.Delivery, err)
	}
	var have stream.Found
	if again {
		if have, err = s.present(ctx, a, ids); err != nil {
			return err
		}
	}
	if err := s.send(ctx, a, ids, have); err != nil {
		return err
	}
	if err := store.Record(ctx, s.o.Delivery, a.commit(s.document), nil); err != nil {
		return err
	}
	for _, key := range a.Keys {
		if err := s.o.State.Delete(ctx, key); err != nil {
			return err
		}
	}
	return nil
}
