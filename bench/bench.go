package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/tarn-data/tarn/internal/child"
)

// Defaults of Options.
const (
	DefaultEvents = 2_000_000
	DefaultRuns   = 3
	DefaultDir    = ".tarn/bench"
)

// Options say what to measure. The zero value, with a Binary, is the committed benchmark.
type Options struct {
	Binary  string   // path of the tarn binary
	Version string   // its version, for the report
	Dir     string   // folder for the data, emptied at the end; on a real disk, or fsync is measured wrong; "" means DefaultDir
	Events  int64    // events of the large scenarios; others scale with it; 0 means DefaultEvents, at least 10,000
	Runs    int      // how often the scenarios that report medians run; 0 means DefaultRuns
	Only    []string // names of the scenarios to run; nil means all

	// Progress, if set, is told what happens now, in a few words.
	Progress func(text string)
}

// scenario is one entry of the benchmark.
type scenario struct {
	name string
	what string
	run  func(context.Context, *session) ([]Row, error)
}

// scenarios are in the order of the report.
func scenarios() []scenario {
	return []scenario{
		{"throughput", "the floor, durable ingest, catch-up and end to end, in turn", throughput},
		{"single", "single-event requests of 64 clients", single},
		{"freshness", "acknowledged until visible to SQL at 10,000 events/s", freshness},
		{"putget", "put until read from the stream", putGet},
		{"query", "five queries next to bare DuckDB on the same files", queries},
		{"commits", "a thousand commits, the first fifty against the last fifty", commits},
		{"filedrop", "a dropped NDJSON and CSV file, next to bare DuckDB on the same file", fileDrop},
		{"replay", "history run again, into a new table and in place", replays},
		{"extract", "SQL over a stream into a table and a stream, and in windows, next to the same SQL in a bare COPY", extracts},
		{"twin", "a twin of a million metrics: reads next to a bare net/http handler, updates through a stream, its past", twins},
		{"functions", "a handler in Python, Node and Go in the function host, next to a bare loop over it", functions},
		{"startup", "start until ready, and idle memory", startup},
	}
}

// Scenarios returns the names that Options.Only takes, each with what it measures.
func Scenarios() (names, whats []string) {
	for _, s := range scenarios() {
		names, whats = append(names, s.name), append(whats, s.what)
	}
	return names, whats
}

func (o *Options) complete() error {
	if o.Dir == "" {
		o.Dir = DefaultDir
	}
	if o.Events == 0 {
		o.Events = DefaultEvents
	}
	if o.Runs == 0 {
		o.Runs = DefaultRuns
	}
	if o.Progress == nil {
		o.Progress = func(string) {}
	}
	names, _ := Scenarios()
	for _, name := range o.Only {
		if !slices.Contains(names, name) {
			return fmt.Errorf("%q is not a scenario; there are %s", name, strings.Join(names, ", "))
		}
	}
	switch {
	case o.Binary == "":
		return errors.New("the path of the tarn binary is missing")
	case o.Events < 10_000:
		return fmt.Errorf("%d events are too few to measure; take 10,000 or more", o.Events)
	case o.Runs < 1:
		return fmt.Errorf("%d runs are too few", o.Runs)
	}
	var err error
	o.Dir, err = filepath.Abs(o.Dir)
	return err
}

// session is what the scenarios of one run share.
type session struct {
	Options
	dir     string
	events  *events
	number  int      // of the next server's folder
	leftOut []string // see Report
}

// Run measures and returns the report. After an error of one scenario the report holds the rows
// before it. The data is removed in any case.
func Run(ctx context.Context, o Options) (Report, error) {
	if err := o.complete(); err != nil {
		return Report{}, err
	}
	if err := os.MkdirAll(o.Dir, 0o755); err != nil {
		return Report{}, err
	}
	dir, err := os.MkdirTemp(o.Dir, "run-")
	if err != nil {
		return Report{}, err
	}
	defer os.RemoveAll(dir)
	r := Report{Version: o.Version, Started: time.Now(), Machine: thisMachine(), Events: o.Events, Runs: o.Runs}
	o.Progress(fmt.Sprintf("making %s events", number(float64(o.Events))))
	ev, err := makeEvents(filepath.Join(dir, "events.ndjson"), o.Events)
	if err != nil {
		return r, err
	}
	defer ev.close()
	r.EventBytes = float64(ev.bytes) / float64(ev.count)
	s := &session{Options: o, dir: dir, events: ev}
	for _, sc := range scenarios() {
		if len(o.Only) > 0 && !slices.Contains(o.Only, sc.name) {
			continue
		}
		o.Progress(sc.name + ": " + sc.what)
		rows, err := sc.run(ctx, s)
		for i := range rows {
			rows[i].Scenario = sc.name
		}
		r.Rows, r.LeftOut = append(r.Rows, rows...), s.leftOut
		r.Seconds = time.Since(r.Started).Seconds()
		if err != nil {
			return r, fmt.Errorf("%s: %w", sc.name, err)
		}
	}
	return r, nil
}

// server is a running tarn with a project and data folder of its own.
type server struct {
	*child.Process
	*child.Client
	project, data string
	ready         time.Duration // start until ready
}

// start starts a server on fresh folders with the fleet's project, whose buffer is replaced when
// buffer is not empty.
func (s *session) start(ctx context.Context, buffer string, env ...string) (*server, error) {
	srv := s.folders()
	if err := writeProject(srv.project, buffer); err != nil {
		return nil, err
	}
	return srv, s.launch(ctx, srv, env...)
}

// startWith starts a server on fresh folders with a project of these files.
func (s *session) startWith(ctx context.Context, files map[string]string) (*server, error) {
	srv := s.folders()
	for name, text := range files {
		if err := srv.write(name, text); err != nil {
			return nil, err
		}
	}
	return srv, s.launch(ctx, srv)
}

// folders names the folders of the next server.
func (s *session) folders() *server {
	s.number++
	base := filepath.Join(s.dir, fmt.Sprintf("server-%d", s.number))
	return &server{project: filepath.Join(base, "project"), data: filepath.Join(base, "data")}
}

// write writes a file of the project.
func (srv *server) write(name, text string) error {
	path := filepath.Join(srv.project, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(text), 0o644)
}

// launch starts srv, for the first time or again, and waits until it is ready.
func (s *session) launch(ctx context.Context, srv *server, env ...string) error {
	p, err := child.Start(child.Options{Binary: s.Binary, Project: srv.project, Data: srv.data, Env: env})
	if err != nil {
		return err
	}
	ready, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	base, err := p.Ready(ready)
	if err != nil {
		p.Kill()
		return err
	}
	srv.Process, srv.Client, srv.ready = p, child.NewClient(base), time.Since(p.Started())
	return nil
}

// remove kills the server and deletes its data, so that the disk holds one at a time.
func (srv *server) remove() {
	srv.Kill()
	_ = os.RemoveAll(filepath.Dir(srv.data))
}

// settle waits until n events are committed and returns when that was seen.
func (srv *server) settle(ctx context.Context, n int64) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	if err := srv.Act(ctx, pipeline, "flush"); err != nil {
		return time.Time{}, fmt.Errorf("%w\n%s", err, srv.Log())
	}
	counts, at, err := srv.Settled(ctx, pipeline, n, 5*time.Millisecond)
	if err != nil {
		return at, fmt.Errorf("%w\n%s", err, srv.Log())
	}
	if counts.Committed != n || counts.Failed != 0 {
		return at, fmt.Errorf("of %d events %d are committed and %d failed\n%s", n, counts.Committed, counts.Failed, srv.Log())
	}
	return at, nil
}
