package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/cmd/tarn/internal/feed"
	"github.com/tarn-data/tarn/cmd/tarn/internal/screen"
)

func (a *app) putCommand() *cobra.Command {
	var p putter
	c := a.clientFlags(&cobra.Command{
		Use:   "put STREAM [FILE...]",
		Short: "Put records from files or standard input into a stream",
		Long: `Reads NDJSON, JSON arrays and pretty-printed objects, plain or compressed with gzip or zstd, from
the files or from standard input, and posts them in batches. A batch that is sent again after a
broken connection is not stored twice. Records the server rejects are reported with file and line;
the others are stored, and the exit status is 1.`,
		Example: `  tarn put telemetry events.ndjson
  tarn put telemetry archive/*.json.gz --key depot-7
  tail -F /var/log/app.ndjson | tarn put logs`,
		Args: args(1, -1, "a stream and any number of files"),
	})
	f := c.Flags()
	f.StringVar(&p.key, "key", "", "partition key of all records")
	f.IntVar(&p.batch.Records, "batch", 10_000, "records in one request")
	f.DurationVar(&p.retry, "retry", time.Minute, "how long to try a batch again while the server is away or busy")
	c.RunE = func(c *cobra.Command, args []string) error {
		if p.batch.Records < 1 {
			return usage(c, "--batch must be at least 1")
		}
		cl, err := a.client()
		if err != nil {
			return err
		}
		p.app, p.client, p.stream, p.start = a, cl, args[0], time.Now()
		p.run = rand.Text()
		return p.putAll(c.Context(), args[1:])
	}
	return c
}

// putAll sends every file in order and prints the outcome.
func (p *putter) putAll(ctx context.Context, files []string) error {
	err := p.putFiles(ctx, files)
	p.clearProgress()
	if p.unlisted > 0 {
		fmt.Fprintf(p.app.errOut, "… and %s more\n", screen.Plural(p.unlisted, "rejected record"))
	}
	if err == nil || p.requests > 0 || p.app.json {
		p.report()
	}
	if err == nil && p.rejected > 0 {
		if !p.app.json {
			p.app.say(screen.Plural(p.rejected, "record") + " rejected")
		}
		return errReported
	}
	return err
}

func (p *putter) putFiles(ctx context.Context, files []string) error {
	if len(files) == 0 {
		files = []string{"-"}
		if screen.IsTerminal(p.app.in) {
			fmt.Fprintln(p.app.errOut, "reading records from the terminal; end with Ctrl-D")
		}
	}
	for _, name := range files {
		if err := p.putFile(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

func (p *putter) putFile(ctx context.Context, name string) error {
	in := p.app.in
	if name == "-" {
		name = "stdin"
	} else {
		f, err := os.Open(name)
		if err != nil {
			return fmt.Errorf("%s: %w", name, unwrapPath(err))
		}
		defer f.Close()
		if info, err := f.Stat(); err == nil && info.IsDir() {
			return &tarn.Error{Code: tarn.CodeInvalid, Detail: name + " is a folder", Hint: "name the files in it, for example " + shellQuote(filepath.Clean(name)) + "/*.ndjson"}
		}
		in = f
	}
	// One batch is on its way while the next is read.
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	next := make(chan feed.Batch)
	done := make(chan error, 1)
	go func() {
		var err error
		for b := range next {
			if err == nil {
				if err = p.send(ctx, b, ""); err != nil {
					stop(err)
				}
			}
		}
		done <- err
	}()
	err := feed.Read(ctx, name, in, p.batch, func(b feed.Batch) error {
		select {
		case next <- b:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	close(next)
	if sent := <-done; sent != nil {
		return sent
	}
	return err
}

func unwrapPath(err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// report prints what was done: one line, or a document with --json.
func (p *putter) report() {
	took := time.Since(p.start)
	if p.app.json {
		doc := map[string]any{"stream": p.stream, "accepted": p.accepted, "rejected": p.rejected, "requests": p.requests, "bytes": p.bytes, "seconds": took.Seconds()}
		if p.first != "" {
			doc["first_position"], doc["last_position"] = p.first, p.last
		}
		_ = p.app.printJSON(doc) // a closed pipe has nobody to tell
		return
	}
	line := fmt.Sprintf("%s in %s: %s", screen.Plural(p.accepted, "record"), p.stream, screen.Bytes(p.bytes))
	if p.rejected > 0 {
		line += ", " + screen.Count(p.rejected) + " rejected"
	}
	_, _ = io.WriteString(p.app.out, line+"\n")
}

// header returns the headers of one batch. The key of a batch is the same however often it is sent.
func (p *putter) header(part string) http.Header {
	h := http.Header{
		"Content-Type":    {"application/x-ndjson"},
		"Accept":          {"application/json"},
		"Idempotency-Key": {"put-" + p.run + "-" + strconv.Itoa(p.number) + part},
	}
	return h
}

func (p *putter) path() string {
	path := "/v1/streams/" + url.PathEscape(p.stream) + "/records"
	if p.key != "" {
		path += "?key=" + url.QueryEscape(p.key)
	}
	return path
}
