package server

import (
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tarn-data/tarn"
)

// ServeHTTP runs what every request passes: guard, readiness, routing, metrics, panic recovery.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	rec := &recorder{ResponseWriter: w, r: r, problems: s.problems, patience: sendPatience * s.opts.Patience}
	defer s.finish(rec, r, start)
	s.receive(w, r)
	if err := s.guard(r); err != nil {
		s.problems.Write(rec, r, err)
		return
	}
	s.mux.ServeHTTP(rec, r)
}

// finish counts the request and answers one that panicked without showing why.
func (s *Server) finish(rec *recorder, r *http.Request, start time.Time) {
	if v := recover(); v != nil {
		if v == http.ErrAbortHandler { // a handler cuts a stream it cannot finish, on purpose
			s.observe(rec, r, start)
			panic(v)
		}
		err := fmt.Errorf("panic: %v\n%s", v, debug.Stack())
		if rec.status != 0 {
			s.problems.of(r.Method+" "+r.URL.Path, err) // the log must have it; the answer has begun and can only be cut
			s.observe(rec, r, start)
			panic(http.ErrAbortHandler)
		}
		clear(rec.Header())
		s.problems.Write(rec, r, err)
	}
	rec.send(0) // what is held back goes out when the handler is over
	s.observe(rec, r, start)
}

func (s *Server) observe(rec *recorder, r *http.Request, start time.Time) {
	route := r.Pattern
	if _, path, ok := strings.Cut(route, " "); ok {
		route = path
	}
	if route == "" {
		route = "unmatched" // a closed set: what clients write never becomes a label
	}
	status := rec.status
	if status == 0 {
		status = http.StatusOK
	}
	took := time.Since(start)
	s.opts.Metrics.HTTPRequests.WithLabelValues(route, methodLabel(r.Method), strconv.Itoa(status)).Inc()
	s.opts.Metrics.HTTPSeconds.WithLabelValues(route).Observe(took.Seconds())
	if !s.opts.Logger.Enabled(r.Context(), slog.LevelDebug) {
		return
	}
	s.opts.Logger.Debug("request", "method", r.Method, "route", route, "status", status, "bytes", rec.bytes, "took", took)
}

func methodLabel(m string) string {
	if slices.Contains([]string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}, m) {
		return m
	}
	return "other"
}

// guard refuses requests that must not reach a handler.
func (s *Server) guard(r *http.Request) error {
	if !s.opts.AnyHost && !loopbackHost(r.Host) && !slices.Contains(s.opts.AllowedHosts, r.Host) {
		return &tarn.Error{Code: tarn.CodeForbidden, Detail: "the Host header " + strconv.Quote(r.Host) + " is not loopback",
			Hint: "address the server as 127.0.0.1 or localhost; a web page of another name must not reach it through your browser"}
	}
	if err := s.origin.Check(r); err != nil {
		return &tarn.Error{Code: tarn.CodeForbidden, Detail: "a browser sent this request for another site", Hint: "send it from the server's own pages or from a program", Err: err}
	}
	if strings.HasPrefix(r.URL.Path, "/v1/") {
		if reasons := s.ready(); len(reasons) > 0 {
			return notReady(reasons)
		}
	}
	return nil
}

func (s *Server) ready() []string {
	if s.opts.Control.Ready == nil {
		return nil
	}
	return s.opts.Control.Ready()
}

// recorder notes the status and size of an answer, and turns the plain-text 404 and 405 of
// http.ServeMux into problem documents.
type recorder struct {
	http.ResponseWriter
	r        *http.Request
	problems Problems
	status   int
	bytes    int64
	swallow  bool
	patience time.Duration
	bounded  time.Time // when the time of writes was bounded last
}

// Unwrap serves http.ResponseController.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *recorder) WriteHeader(status int) {
	if w.status != 0 {
		return
	}
	if status >= 400 && w.r.Pattern == "" && w.Header().Get("Content-Type") != problemType {
		w.unmatched(status)
		return
	}
	if status >= 200 { // 1xx may come before the answer
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) unmatched(status int) {
	doc := problem(tarn.CodeNotFound, "there is nothing at "+w.r.URL.Path, "GET / lists what there is")
	if status == http.StatusMethodNotAllowed {
		doc = problem(tarn.CodeInvalid, w.r.Method+" is not allowed on "+w.r.URL.Path, "use "+w.Header().Get("Allow"))
	}
	doc.Status = status
	doc.Title = http.StatusText(status)
	w.Header().Del("X-Content-Type-Options")
	w.problems.Write(w, w.r, doc)
	w.swallow = true // the mux's own text follows
}

func (w *recorder) Write(b []byte) (int, error) {
	if w.swallow {
		return len(b), nil
	}
	if w.status == 0 {
		w.status = http.StatusOK
	}
	w.send(len(b))
	n, err := w.ResponseWriter.Write(b)
	w.bytes += int64(n)
	return n, err
}

// FlushError sends what was written so far.
func (w *recorder) FlushError() error {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	w.send(0)
	return http.NewResponseController(w.ResponseWriter).Flush()
}
