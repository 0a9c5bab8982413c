package extract

import (
	"context"
	"encoding/json"
	"slices"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/delivery"
	"github.com/tarn-data/tarn/table"
)

// settle makes a commit of failed records that are tried again one that settles them, see
// delivery.Config.Retry. It is nil for records that come for the first time.
type settle func(table.Commit) (table.Commit, error)

func (f settle) of(c table.Commit) (table.Commit, error) {
	if f == nil {
		return c, nil
	}
	return f(c)
}

// settles returns the failed records that a commit needs: they must be there until it is made.
func settles(c table.Commit) []int64 {
	ids := slices.Clone(c.Resolve)
	for _, f := range c.Again {
		ids = append(ids, f.ID)
	}
	return ids
}

// retryDocument announces rows of failed records that are tried again. It is another than that of the
// sessions beside which they are.
const retryDocument = "announced_retry"

// RetryAnnounced reports whether documents of a delivery announce rows of failed records: those must stay
// until a session or the next retry has settled them.
func RetryAnnounced(documents map[string][]byte) bool {
	var a announcement
	return documents[retryDocument] != nil || json.Unmarshal(documents[announcedDocument], &a) == nil && len(a.Resolve)+len(a.Again) > 0
}

// Retrying implements delivery.Sink.
func (s *StreamSink) Retrying(store delivery.SinkStore, f func(table.Commit) (table.Commit, error)) delivery.Sink {
	return s.retrying(store, f)
}

func (s *StreamSink) retrying(store delivery.SinkStore, f settle) *StreamSink {
	o := s.o
	o.Store = store
	return &StreamSink{o: o, settle: f, document: retryDocument, rows: "retry-"}
}

// settleRetry brings to its end what a retry has announced that was cut off. One that is under way does
// that itself.
func (s *StreamSink) settleRetry(ctx context.Context, docs map[string][]byte) error {
	if docs[retryDocument] == nil {
		return nil
	}
	if s.o.Settling != nil {
		if !s.o.Settling.TryLock() {
			return nil
		}
		defer s.o.Settling.Unlock()
	}
	_, _, err := s.retrying(s.o.Store, nil).Begin(ctx)
	return err
}

// Retrying implements delivery.Sink.
func (s *TwinSink) Retrying(store delivery.SinkStore, f func(table.Commit) (table.Commit, error)) delivery.Sink {
	o := s.o
	o.Store = store
	return &TwinSink{o: o, settle: f}
}

// Retrying implements delivery.Sink. Records go into the windows of the session that runs, which must be
// there.
func (s *WindowSink) Retrying(store delivery.SinkStore, f func(table.Commit) (table.Commit, error)) delivery.Sink {
	return &windowRetry{to: s, store: store, settle: f}
}

// windowRetry brings failed records into windows beside the session that fills them. One whose windows have
// all been delivered is late.
type windowRetry struct {
	to     *WindowSink
	store  delivery.SinkStore
	settle settle
	fields []tarn.Field
}

// Begin implements delivery.Sink.
func (s *windowRetry) Begin(ctx context.Context) (map[string][]byte, []table.ProgressRow, error) {
	docs, err := s.store.Documents(ctx, s.to.StreamSink.o.Delivery)
	if err != nil {
		return nil, nil, err
	}
	rows, err := s.store.Progress(ctx, s.to.StreamSink.o.Delivery)
	return docs, rows, err
}

// End implements delivery.Sink.
func (s *windowRetry) End() {}

// Retrying implements delivery.Sink.
func (s *windowRetry) Retrying(store delivery.SinkStore, f func(table.Commit) (table.Commit, error)) delivery.Sink {
	return s.to.Retrying(store, f)
}

// Columns implements delivery.Sink.
func (s *windowRetry) Columns(_ context.Context, fields []tarn.Field) ([]tarn.Field, error) {
	s.fields = fields
	return fields, nil
}

// Lines implements delivery.Sink.
func (s *windowRetry) Lines() string { return "" }

// Commit implements delivery.Sink.
func (s *windowRetry) Commit(ctx context.Context, rows delivery.SinkRows, c table.Commit) error {
	s.to.mu.Lock()
	defer s.to.mu.Unlock()
	if !s.to.begun {
		return &tarn.Error{Code: tarn.CodeUnavailable, Detail: "the windows of " + s.to.o.Extract + " are not open now", Hint: "see tarn extract ls, and try again when the extract runs"}
	}
	// All windows begin anew when a commit fails, so what others have settled is looked at before.
	judged, err := s.settle.of(c)
	if err != nil {
		return err
	}
	name := s.to.StreamSink.o.Delivery
	if err := s.store.Record(ctx, name, table.Commit{Expect: settles(judged)}, nil); err != nil {
		return err
	}
	return s.to.commit(ctx, rows, c, s)
}

// sinkStore is where a commit of windows is recorded.
func (s *WindowSink) sinkStore(retry *windowRetry) delivery.SinkStore {
	if retry != nil {
		return retry.store
	}
	return s.StreamSink.o.Store
}
