package child

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// Client makes the requests that harnesses need. It may be used from any goroutine.
type Client struct {
	Base string // base URL, for example http://127.0.0.1:41873
	HTTP *http.Client
}

// NewClient returns a client with its own connection pool and no time limit but that of the contexts.
func NewClient(base string) *Client {
	return &Client{Base: base, HTTP: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64, MaxConnsPerHost: 0}}}
}

// StatusError is an answer other than 200.
type StatusError struct {
	Status int
	Body   string // the start of it
}

// Error implements error.
func (e *StatusError) Error() string {
	return fmt.Sprintf("HTTP status %d: %s", e.Status, strings.TrimSpace(e.Body))
}

// Do sends a request and returns the body of the answer. An answer other than 200 is a *StatusError.
func (c *Client) Do(ctx context.Context, method, path string, header map[string]string, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.Base+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	for k, v := range header {
		req.Header.Set(k, v)
	}
	resp, err := c.HTTP.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusOK {
		return nil, &StatusError{resp.StatusCode, string(answer[:min(len(answer), 1<<10)])}
	}
	return answer, err
}

// Counts are the record counts of a pipeline with one delivery: accepted = committed + failed + pending.
type Counts struct {
	Accepted  int64
	Committed int64
	Failed    int64
	Pending   int64
}

// Pipeline reads GET /v1/pipelines/{name}, whose document server.PipelineDoc describes.
func (c *Client) Pipeline(ctx context.Context, name string) (Counts, error) {
	b, err := c.Do(ctx, http.MethodGet, "/v1/pipelines/"+name, nil, nil)
	if err != nil {
		return Counts{}, err
	}
	var doc struct {
		Deliveries []struct {
			Lag     int64 `json:"lag_records"`
			Records int64 `json:"records"` // accounted for by commits, failed ones included
			Failed  int64 `json:"failed"`
		} `json:"deliveries"`
	}
	if err := json.Unmarshal(b, &doc); err != nil || len(doc.Deliveries) != 1 {
		return Counts{}, fmt.Errorf("pipeline %s: want a document with one delivery, got %.500s", name, b)
	}
	d := doc.Deliveries[0]
	return Counts{Accepted: d.Records + d.Lag, Committed: d.Records - d.Failed, Failed: d.Failed, Pending: d.Lag}, nil
}

// Act does something with a pipeline: flush (and wait until all that was accepted is committed),
// pause or resume.
func (c *Client) Act(ctx context.Context, pipeline, action string) error {
	_, err := c.Do(ctx, http.MethodPost, "/v1/pipelines/"+pipeline+"/"+action, nil, nil)
	return err
}

// Settled waits until the pipeline has accepted at least n records and none is pending, asking every
// interval, and returns the counts and when it saw them.
func (c *Client) Settled(ctx context.Context, pipeline string, n int64, interval time.Duration) (Counts, time.Time, error) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		counts, err := c.Pipeline(ctx, pipeline)
		if err != nil {
			return counts, time.Time{}, err
		}
		if counts.Accepted >= n && counts.Pending == 0 && counts.Committed+counts.Failed >= n {
			return counts, time.Now(), nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return counts, time.Time{}, fmt.Errorf("pipeline %s is still at %+v: %w", pipeline, counts, ctx.Err())
		}
	}
}

// SQL runs a query through POST /v1/sql and returns the answer in the format that accept names.
func (c *Client) SQL(ctx context.Context, sql, accept string) ([]byte, error) {
	body, err := json.Marshal(map[string]any{"sql": sql})
	if err != nil {
		return nil, err
	}
	return c.Do(ctx, http.MethodPost, "/v1/sql", map[string]string{"Content-Type": "application/json", "Accept": accept}, body)
}

// Rows runs a query and returns its rows as text, without the header.
func (c *Client) Rows(ctx context.Context, sql string) ([][]string, error) {
	b, err := c.SQL(ctx, sql, "text/csv")
	if err != nil {
		return nil, fmt.Errorf("%s: %w", sql, err)
	}
	rows, err := csv.NewReader(bytes.NewReader(b)).ReadAll()
	if err != nil || len(rows) == 0 {
		return nil, fmt.Errorf("%s: the answer is no CSV with a header: %w\n%.200s", sql, err, b)
	}
	return rows[1:], nil
}
