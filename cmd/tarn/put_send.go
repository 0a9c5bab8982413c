package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/cmd/tarn/internal/client"
	"github.com/tarn-data/tarn/cmd/tarn/internal/feed"
	"github.com/tarn-data/tarn/cmd/tarn/internal/screen"
	"github.com/tarn-data/tarn/record"
	"github.com/tarn-data/tarn/server"
)

// putter is one run of put. Its counts are touched by the sending goroutine only, until that ended.
type putter struct {
	app    *app
	client *client.Client
	stream string
	key    string
	batch  feed.Options
	retry  time.Duration
	run    string // part of the idempotency keys that no other run has
	start  time.Time

	number   int // of the batch
	accepted int
	rejected int
	unlisted int // rejected and not printed
	requests int
	bytes    int
	first    string
	last     string
	painted  time.Time
}

// maxListed bounds the rejected records that are printed.
const maxListed = 20

// send posts one batch until the server has taken or refused it. part names the half of a batch
// that was too large in one piece.
func (p *putter) send(ctx context.Context, b feed.Batch, part string) error {
	if part == "" {
		p.number++
	}
	deadline := time.Now().Add(p.retry)
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		doc, err := p.post(ctx, b, part)
		if err == nil {
			p.took(b, doc)
			return nil
		}
		var refused *client.Error
		switch {
		case errors.As(err, &refused) && refused.Status == http.StatusRequestEntityTooLarge && refused.Problem.Code == tarn.CodeTooLarge && len(b.Lines) > 1:
			return p.halve(ctx, b, part)
		case errors.As(err, &refused) && (refused.Total > 0 || len(b.Lines) == 1 && refused.Status == http.StatusRequestEntityTooLarge):
			p.refused(b, refused)
			return nil
		case ctx.Err() != nil || !client.Temporary(err) || time.Now().After(deadline):
			return err
		}
		pause := max(client.Wait(err), wait/2+rand.N(wait))
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}

func (p *putter) post(ctx context.Context, b feed.Batch, part string) (server.IngestDoc, error) {
	var doc server.IngestDoc
	resp, err := p.client.Do(ctx, http.MethodPost, p.path(), p.header(part), b.Body)
	if err != nil {
		return doc, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil {
		err = json.Unmarshal(body, &doc)
	}
	if err != nil { // the answer broke off; the same key asks for it again
		return doc, &tarn.Error{Code: tarn.CodeUnavailable, Detail: "the answer of the server broke off", Err: err}
	}
	return doc, nil
}

// halve sends a batch that is over the body limit in two parts.
func (p *putter) halve(ctx context.Context, b feed.Batch, part string) error {
	half := len(b.Lines) / 2
	at := 0
	for range half {
		at += bytes.IndexByte(b.Body[at:], '\n') + 1
	}
	if err := p.send(ctx, feed.Batch{File: b.File, Body: b.Body[:at], Lines: b.Lines[:half]}, part+".a"); err != nil {
		return err
	}
	return p.send(ctx, feed.Batch{File: b.File, Body: b.Body[at:], Lines: b.Lines[half:]}, part+".b")
}

// took counts a batch of which the server stored something.
func (p *putter) took(b feed.Batch, doc server.IngestDoc) {
	p.requests++
	p.accepted += doc.Accepted
	p.bytes += len(b.Body)
	if p.first == "" {
		p.first = doc.First.String()
	}
	p.last = doc.Last.String()
	p.reject(b, doc.Rejected, max(doc.RejectedTotal, len(doc.Rejected)))
	p.progress()
}

// refused counts a batch of which the server stored nothing.
func (p *putter) refused(b feed.Batch, e *client.Error) {
	p.requests++
	rejected := e.Rejected
	if len(rejected) == 0 { // the whole body was over a limit, and it is one record
		rejected = []record.Reject{{Index: 0, Code: e.Problem.Code, Detail: e.Problem.Detail}}
	}
	p.reject(b, rejected, max(e.Total, len(rejected)))
	p.progress()
}

func (p *putter) reject(b feed.Batch, rejected []record.Reject, total int) {
	for _, r := range rejected {
		if p.rejected-p.unlisted >= maxListed {
			break
		}
		line := 0
		if r.Index < len(b.Lines) {
			line = b.Lines[r.Index]
		}
		p.clearProgress()
		fmt.Fprintf(p.app.errOut, "%s:%d: %s\n", b.File, line, screen.Visible(r.Detail))
		p.rejected++
		total--
	}
	p.rejected += total
	p.unlisted += total
}

// progress repaints one line on a terminal, a few times a second.
func (p *putter) progress() {
	if _, terminal := screen.Terminal(p.app.errOut); !terminal || time.Since(p.painted) < 200*time.Millisecond {
		return
	}
	p.painted = time.Now()
	rate := float64(p.accepted) / max(time.Since(p.start).Seconds(), 1e-3)
	fmt.Fprintf(p.app.errOut, "\r\x1b[K%s, %s, %s/s", screen.Plural(p.accepted, "record"), screen.Bytes(p.bytes), screen.Count(int(rate)))
}

func (p *putter) clearProgress() {
	if !p.painted.IsZero() {
		fmt.Fprint(p.app.errOut, "\r\x1b[K")
		p.painted = time.Time{}
	}
}
