package server

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/twin"
)

const (
	beat      = 15 * time.Second // without changes, a sign that the connection lives
	stuck     = 30 * time.Second // a client that takes nothing for so long is cut off
	fromNow   = -1
	maxClient = 4 << 10 // bytes of a message from the client, which has nothing to say
)

// changes answers with the changes of a twin as they happen.
func (s *Server) changes(w http.ResponseWriter, r *http.Request) {
	t, err := s.twin(r.PathValue("twin"))
	var filter twin.WatchFilter
	after := int64(fromNow)
	if err == nil {
		filter, after, err = parseWatch(r.URL.Query(), r.Header.Get("Last-Event-ID"))
	}
	var watch *twin.Watcher
	if err == nil {
		watch, err = t.Watch(filter, after)
	}
	if err != nil {
		s.problems.Write(w, r, err)
		return
	}
	defer watch.Close()
	ctx, stop := context.WithCancel(r.Context())
	var drained sync.WaitGroup
	defer drained.Wait()
	defer stop()
	drained.Go(func() {
		select {
		case <-draining(ctx):
			stop()
		case <-ctx.Done():
		}
	})
	if strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
		s.overSocket(ctx, w, r, watch)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // proxies must not gather events
	out := &eventWriter{w: w, c: http.NewResponseController(w)}
	_ = followTwin(ctx, watch, out) // the client sees where it ends, and resumes
}

func parseWatch(q url.Values, last string) (f twin.WatchFilter, after int64, err error) {
	known := []string{"prefix", "component", "type", "metric", "after"}
	for name := range q {
		if !slices.Contains(known, name) {
			return f, 0, &tarn.Error{Code: tarn.CodeInvalid, Detail: "the parameter " + strconv.Quote(clip(name)) + " is not known here", Hint: "there are " + strings.Join(known, ", ")}
		}
	}
	if len(q["component"]) > maxReadKeys || len(q["metric"]) > maxReadKeys {
		return f, 0, &tarn.Error{Code: tarn.CodeTooLarge, Detail: "the filter names too many components or metrics", Hint: "name at most 1000, or a prefix"}
	}
	f = twin.WatchFilter{Prefix: q.Get("prefix"), Components: q["component"], Type: q.Get("type"), Metrics: q["metric"]}
	if v := q.Get("after"); v != "" && last == "" {
		last = v
	}
	if last == "" {
		return f, fromNow, nil
	}
	if after, err = strconv.ParseInt(last, 10, 64); err != nil || after < 0 {
		return f, 0, &tarn.Error{Code: tarn.CodeInvalid, Detail: strconv.Quote(clip(last)) + " is not the id of an event", Hint: "send the id of the last event that came, or nothing"}
	}
	return f, after, nil
}

// changeSink is what changes are written to: an event stream or a WebSocket.
type changeSink interface {
	// change writes one event; nothing but its name and id for one without a metric.
	change(ctx context.Context, event string, id int64, m *twin.Metric) error
	// beat shows that the connection lives.
	beat(ctx context.Context) error
	// flush sends what was written.
	flush(ctx context.Context) error
}

// followTwin writes changes until ctx, the twin or the client ends.
func followTwin(ctx context.Context, watch *twin.Watcher, out changeSink) error {
	if err := out.change(ctx, "ready", watch.Last(), nil); err != nil {
		return err
	}
	for {
		if err := out.flush(ctx); err != nil {
			return err
		}
		wait, cancel := context.WithTimeout(ctx, beat)
		c, err := watch.Next(wait)
		cancel()
		switch {
		case err != nil && ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded):
			if err := out.beat(ctx); err != nil {
				return err
			}
			continue
		case err != nil:
			return err
		case c.Missed:
			if err := out.change(ctx, "gap", watch.Last(), nil); err != nil {
				return err
			}
		}
		for i := range c.Events {
			e := &c.Events[i]
			if err := out.change(ctx, eventName(e), e.ID, &e.Metric); err != nil {
				return err
			}
		}
	}
}

func eventName(e *twin.Event) string {
	switch {
	case e.Expired:
		return "expired"
	case e.Removed:
		return "removed"
	}
	return "change"
}

// eventWriter writes server-sent events (WHATWG HTML, 9.2).
type eventWriter struct {
	w   http.ResponseWriter
	c   *http.ResponseController
	buf []byte
}

func (o *eventWriter) change(_ context.Context, event string, id int64, m *twin.Metric) error {
	b := o.buf
	if id > 0 || m == nil {
		b = append(strconv.AppendInt(append(b, "id: "...), id, 10), '\n')
	}
	b = append(append(append(b, "event: "...), event...), "\ndata: "...)
	if m == nil {
		b = append(b, "{}"...)
	} else {
		b = m.AppendJSON(b, time.Now())
	}
	o.buf = append(b, "\n\n"...)
	if len(o.buf) < 64<<10 {
		return nil
	}
	return o.flush(context.Background())
}

func (o *eventWriter) beat(context.Context) error {
	o.buf = append(o.buf, ":\n\n"...)
	return nil
}

func (o *eventWriter) flush(context.Context) error {
	_ = o.c.SetWriteDeadline(time.Now().Add(stuck)) // a test's recorder has none
	_, err := o.w.Write(o.buf)
	o.buf = o.buf[:0]
	if err == nil {
		err = o.c.Flush()
	}
	return err
}

// overSocket writes changes to a WebSocket (RFC 6455).
func (s *Server) overSocket(ctx context.Context, w http.ResponseWriter, r *http.Request, watch *twin.Watcher) {
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{OriginPatterns: s.opts.AllowedHosts})
	if err != nil {
		return // Accept has answered
	}
	defer func() { _ = conn.CloseNow() }()
	conn.SetReadLimit(maxClient)
	ctx = conn.CloseRead(ctx)
	err = followTwin(ctx, watch, socket{conn})
	if ctx.Err() != nil || tarn.CodeOf(err) == tarn.CodeUnavailable {
		_ = conn.Close(websocket.StatusGoingAway, "the server is stopping")
	}
}

type socket struct{ conn *websocket.Conn }

func (o socket) change(ctx context.Context, event string, id int64, m *twin.Metric) error {
	doc := TwinChangeDoc{Event: event, ID: id}
	if m != nil {
		d := metricDoc(m, time.Now())
		doc.Metric = &d
	}
	b, err := json.Marshal(doc)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, stuck)
	defer cancel()
	return o.conn.Write(ctx, websocket.MessageText, b)
}

func (o socket) beat(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, stuck)
	defer cancel()
	return o.conn.Ping(ctx)
}

func (o socket) flush(context.Context) error { return nil }
