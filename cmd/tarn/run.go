package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/cmd/tarn/internal/client"
	"github.com/tarn-data/tarn/cmd/tarn/internal/screen"
	"github.com/tarn-data/tarn/server"
)

// runner is one run of tarn run.
type runner struct {
	app      *app
	client   *client.Client
	pipeline string
	again    bool
	format   string
	name     string
	doc      server.RunDoc
}

func (a *app) runCommand() *cobra.Command {
	r := runner{app: a}
	c := a.clientFlags(&cobra.Command{
		Use:   "run PIPELINE FILE...",
		Short: "Push files through a pipeline",
		Long: `Sends CSV, TSV, JSON, NDJSON, Parquet, Avro or text files, plain or compressed with gzip or zstd, to a
pipeline, which takes them as if they had been dropped into its folder. It returns when every record
is in the stream. The same bytes are taken once, however often they are sent, unless --again is given.
Records that are none are reported with their line; the others are taken, and the exit status is 1.
- reads standard input.`,
		Example: `  tarn run users users.csv
  tarn run telemetry archive/*.ndjson.gz
  tarn run users users.csv --again
  zcat dump.json.gz | tarn run users - --name dump.json`,
		Args: args(2, -1, "a pipeline and at least one file"),
		RunE: func(c *cobra.Command, args []string) (err error) {
			if r.client, err = a.client(); err != nil {
				return err
			}
			r.pipeline = args[0]
			return r.run(c.Context(), args[1:])
		},
	})
	f := c.Flags()
	f.BoolVar(&r.again, "again", false, "take files also when the same bytes were taken before")
	f.StringVar(&r.format, "format", "", "how the files are read: auto, csv, json, ndjson, parquet, avro, text (default: what the pipeline says)")
	f.StringVar(&r.name, "name", "", "name of the file, when it is standard input")
	return c
}

// run sends the files in order and stops at the first that fails.
func (r *runner) run(ctx context.Context, files []string) error {
	r.doc = server.RunDoc{Pipeline: r.pipeline, Files: []server.RunFile{}}
	var failed error
	for _, name := range files {
		if failed = r.push(ctx, name); failed != nil {
			break
		}
	}
	if r.app.json {
		if err := r.app.printJSON(r.doc); err != nil {
			return err
		}
	}
	if failed != nil {
		return failed
	}
	rejected := int64(0)
	for _, f := range r.doc.Files {
		if !f.Duplicate { // those were reported then
			rejected += f.Rejected
		}
	}
	if rejected > 0 {
		if !r.app.json {
			r.app.say(screen.Plural(int(rejected), "record") + " rejected")
		}
		return errReported
	}
	return nil
}

// push sends one file and prints what came of it.
func (r *runner) push(ctx context.Context, name string) error {
	in, size, err := r.open(name)
	if err != nil {
		return err
	}
	defer in.Close()
	q := url.Values{"name": {filepath.Base(name)}}
	if name == "-" {
		q.Set("name", r.name)
	}
	if r.again {
		q.Set("again", "true")
	}
	if r.format != "" {
		q.Set("format", r.format)
	}
	p := &sent{app: r.app, name: name, in: in, size: size, start: time.Now()}
	// A refusal that needs no body comes before it is sent.
	header := http.Header{"Content-Type": {"application/octet-stream"}, "Accept": {"application/json"}, "Expect": {"100-continue"}}
	resp, err := r.client.Send(ctx, http.MethodPost, "/v1/pipelines/"+url.PathEscape(r.pipeline)+"/runs?"+q.Encode(), header, p)
	p.clear()
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var doc server.RunDoc
	if err := json.NewDecoder(resp.Body).Decode(&doc); err != nil {
		return &tarn.Error{Code: tarn.CodeUnavailable, Detail: "the answer of the server broke off", Hint: "run the command again; nothing is taken twice", Err: err}
	}
	r.doc.Files = append(r.doc.Files, doc.Files...)
	for i := range doc.Files {
		r.print(&doc.Files[i])
	}
	return nil
}

func (r *runner) open(name string) (io.ReadCloser, int64, error) {
	if name == "-" {
		return io.NopCloser(r.app.in), 0, nil
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, 0, fmt.Errorf("%s: %w", name, unwrapPath(err))
	}
	info, err := f.Stat()
	switch {
	case err != nil:
	case info.Mode().IsRegular() && info.Size() == 0:
		err = &tarn.Error{Code: tarn.CodeInvalid, Detail: name + ": the file is empty"}
	case info.IsDir():
		err = &tarn.Error{Code: tarn.CodeInvalid, Detail: name + " is a folder", Hint: "name the files in it, for example " + shellQuote(filepath.Clean(name)) + "/*.csv"}
	}
	if err != nil {
		_ = f.Close()
		return nil, 0, err
	}
	return f, info.Size(), nil
}

// print writes one line for a file.
func (r *runner) print(f *server.RunFile) {
	if !f.Duplicate {
		r.printRejects(f)
	}
	if r.app.json {
		return
	}
	line := fmt.Sprintf("%s: %s in %s: %s of %s", screen.Visible(f.File), screen.Plural(int(f.Accepted), "record"), r.pipeline, screen.Bytes(int(f.Bytes)), f.Format)
	switch {
	case f.Duplicate && f.TakenAs != f.File:
		line += ", taken before as " + screen.Visible(f.TakenAs) + "; --again takes it once more"
	case f.Duplicate:
		line += ", taken before; --again takes it once more"
	case f.Rejected > 0:
		line += ", " + screen.Count(int(f.Rejected)) + " rejected"
	}
	fmt.Fprintln(r.app.out, line)
}

// printRejects writes one line for each of the first rejected records.
func (r *runner) printRejects(f *server.RunFile) {
	listed := f.Rejects[:min(len(f.Rejects), maxListed)]
	for _, bad := range listed {
		fmt.Fprintf(r.app.errOut, "%s:%d: %s\n", screen.Visible(f.File), bad.Line, screen.Visible(bad.Detail))
	}
	if more := int(f.Rejected) - len(listed); more > 0 {
		fmt.Fprintf(r.app.errOut, "… and %s more\n", screen.Plural(more, "rejected record"))
	}
}

// sent shows on a terminal how much of a file has been sent. The connection reads from it on a
// goroutine of its own, which may outlive the answer.
type sent struct {
	app   *app
	name  string
	in    io.Reader
	size  int64
	start time.Time

	mu      sync.Mutex
	done    int64
	painted time.Time
	over    bool
}

// Read implements io.Reader.
func (s *sent) Read(p []byte) (int, error) {
	n, err := s.in.Read(p)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.done += int64(n)
	if _, terminal := screen.Terminal(s.app.errOut); terminal && !s.over && time.Since(s.painted) > 200*time.Millisecond {
		s.painted = time.Now()
		of := ""
		if s.size > 0 {
			of = " of " + screen.Bytes(int(s.size))
		}
		rate := float64(s.done) / max(time.Since(s.start).Seconds(), 1e-3)
		fmt.Fprintf(s.app.errOut, "\r\x1b[K%s: %s%s, %s/s", screen.Visible(s.name), screen.Bytes(int(s.done)), of, screen.Bytes(int(rate)))
	}
	return n, err
}

func (s *sent) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	if !s.painted.IsZero() {
		fmt.Fprint(s.app.errOut, "\r\x1b[K")
	}
}
