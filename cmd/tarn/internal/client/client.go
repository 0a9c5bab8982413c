// Package client speaks the HTTP interface of a Tarn server for the command line.
//
// A path and a body enter, a decoded document or a stream leaves; every error is a *tarn.Error
// whose detail and hint come from the server's problem document, or say why no server answered.
package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/record"
)

// Client calls one server. It is safe for concurrent use.
type Client struct {
	base  string
	http  *http.Client
	creds Credentials

	mu    sync.Mutex
	token string    // for creds.ID
	ends  time.Time // of token
}

// New returns a client of the server at address: a URL, or HOST:PORT. It shows creds to that server only.
func New(address string, creds Credentials) (*Client, error) {
	if !strings.Contains(address, "://") {
		address = "http://" + address
	}
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, &tarn.Error{Code: tarn.CodeInvalid, Detail: strconv.Quote(address) + " is not the address of a server", Hint: "write it like http://127.0.0.1:8080"}
	}
	transport := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
		MaxIdleConnsPerHost:   16,
		ExpectContinueTimeout: time.Second,
		WriteBufferSize:       64 << 10,
	}
	return &Client{base: strings.TrimRight(u.String(), "/"), http: &http.Client{Transport: transport}, creds: creds}, nil
}

// Address returns the URL of the server.
func (c *Client) Address() string { return c.base }

// Error is what a server answered instead of a document.
type Error struct {
	Problem    tarn.Error
	Status     int
	RetryAfter time.Duration
	Rejected   []record.Reject // of a batch of which nothing was accepted
	Total      int             // rejected records, when more than listed
	RequestID  string          // of the invocation of a function
	Function   *FunctionError  // what the function said of its error
}

// FunctionError is the member error of the problem of a failed invocation.
type FunctionError struct {
	Type, Message, Status string
	Stack                 []string
}

// Error implements error.
func (e *Error) Error() string { return e.Problem.Error() }

// Unwrap gives the *tarn.Error.
func (e *Error) Unwrap() error { return &e.Problem }

// Do sends a request and returns the answer when its status is 2xx; the caller closes its body.
func (c *Client) Do(ctx context.Context, method, path string, header http.Header, body []byte) (*http.Response, error) {
	return c.Send(ctx, method, path, header, bytes.NewReader(body))
}

// Send is Do for a body of any size, which is sent as it is read.
func (c *Client) Send(ctx context.Context, method, path string, header http.Header, body io.Reader) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return nil, &tarn.Error{Code: tarn.CodeInvalid, Detail: "the request cannot be built", Err: err}
	}
	for k, v := range header {
		req.Header[k] = v
	}
	req.Header.Set("User-Agent", "tarn")
	if err := c.authorize(ctx, req); err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, unreachable(ctx, c.base, err)
	}
	if resp.StatusCode/100 != 2 {
		defer resp.Body.Close()
		return nil, readProblem(resp)
	}
	return resp, nil
}

// Get decodes the document at path into v.
func (c *Client) Get(ctx context.Context, path string, v any) error {
	return c.call(ctx, http.MethodGet, path, nil, v)
}

// Post sends in as JSON, nothing when it is nil, and decodes the answer into v.
func (c *Client) Post(ctx context.Context, path string, in, v any) error {
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return err
		}
	}
	return c.call(ctx, http.MethodPost, path, body, v)
}

func (c *Client) call(ctx context.Context, method, path string, body []byte, v any) error {
	h := http.Header{"Accept": {"application/json"}}
	if body != nil {
		h.Set("Content-Type", "application/json")
	}
	resp, err := c.Do(ctx, method, path, h, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if raw, ok := v.(*json.RawMessage); ok {
		*raw, err = io.ReadAll(resp.Body)
	} else {
		err = json.NewDecoder(resp.Body).Decode(v)
	}
	if err != nil {
		return c.broken(ctx, err)
	}
	return nil
}

// broken is the error of an answer that began and did not end.
func (c *Client) broken(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return &tarn.Error{Code: tarn.CodeUnavailable, Detail: "the answer of " + c.base + " broke off", Hint: "see the log of the server", Err: err}
}

func unreachable(ctx context.Context, base string, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	e := &tarn.Error{Code: tarn.CodeUnavailable, Detail: "no Tarn answers at " + base, Hint: "start one with tarn up, or name it with --server or TARN_SERVER", Err: err}
	var op *net.OpError
	var cert *tls.CertificateVerificationError
	var plain tls.RecordHeaderError
	switch {
	case errors.As(err, &cert):
		e.Detail = "the certificate of " + base + " is not trusted: " + cert.Err.Error()
		e.Hint = "name the certificate of its authority in SSL_CERT_FILE"
	case errors.As(err, &plain), strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		e.Detail = base + " does not speak HTTPS"
		e.Hint = "write http://, or give the server a certificate: auth.tls in tarn.yaml"
	case !errors.As(err, &op) || op.Op != "dial":
		e.Detail = "the connection to " + base + " broke"
		e.Hint = "see the log of the server"
	}
	return e
}

// readProblem makes an error of an answer that is none of 2xx.
func readProblem(resp *http.Response) error {
	e := &Error{Status: resp.StatusCode}
	if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && s >= 0 {
		e.RetryAfter = time.Duration(s) * time.Second
	}
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	var doc struct {
		Code          tarn.Code       `json:"code"`
		Detail        string          `json:"detail"`
		Hint          string          `json:"hint"`
		Rejected      []record.Reject `json:"rejected"`
		RejectedTotal int             `json:"rejected_total"`
		RequestID     string          `json:"request_id"`
		Function      *FunctionError  `json:"error"`
	}
	t, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if t != "application/problem+json" || json.Unmarshal(body, &doc) != nil || doc.Code == "" {
		e.Problem = tarn.Error{Code: tarn.CodeUnavailable, Detail: "the server answered " + resp.Status, Hint: "is it a Tarn server?"}
		if strings.Contains(string(body), "HTTP request to an HTTPS server") {
			e.Problem.Detail, e.Problem.Hint = "the server speaks HTTPS only", "write https:// in --server or TARN_SERVER"
		}
		return e
	}
	e.Problem = tarn.Error{Code: doc.Code, Detail: doc.Detail, Hint: doc.Hint}
	if doc.Code == tarn.CodeUnauthenticated { // the server speaks to HTTP clients, this to people
		e.Problem.Hint = "set TARN_CLIENT_ID and TARN_CLIENT_SECRET; in the project's folder, tarn auth clients add makes a client"
	}
	e.RequestID, e.Function = doc.RequestID, doc.Function
	e.Rejected, e.Total = doc.Rejected, max(doc.RejectedTotal, len(doc.Rejected))
	return e
}

// Temporary reports whether the same request may succeed later.
func Temporary(err error) bool {
	var e *Error
	if errors.As(err, &e) {
		switch e.Status {
		case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout, http.StatusRequestTimeout:
			return true
		}
		return false
	}
	return tarn.CodeOf(err) == tarn.CodeUnavailable
}

// Wait returns how long the server asked to wait, 0 when it did not say.
func Wait(err error) time.Duration {
	var e *Error
	if errors.As(err, &e) {
		return e.RetryAfter
	}
	return 0
}
