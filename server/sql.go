package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/query"
)

// SQLDoc is the body of POST /v1/sql.
type SQLDoc struct {
	SQL       string `json:"sql" doc:"One SELECT statement" example:"SELECT count(*) FROM curated.telemetry"`
	Params    []any  `json:"params,omitempty" doc:"Values for $1, $2, … or ?"`
	At        string `json:"at,omitempty" doc:"Read the tables as of this time (RFC 3339) or snapshot id"`
	TimeoutMS int64  `json:"timeout_ms,omitempty" doc:"Give up earlier than the server would"`
}

const (
	maxSQLBody = 4 << 20 // text and parameters
	// sqlHold is how much of a result is held back before the status is sent, so that a statement
	// that fails in its first rows is answered with a problem document.
	sqlHold = 64 << 10
	// writeTimeout is how long a client may leave one write waiting; a statement holds files and
	// memory while it does.
	writeTimeout = time.Minute
)

const sqlHint = `send {"sql": "SELECT …"} as application/json, or the statement itself as application/sql`

func (s *Server) mountSQL(api huma.API) {
	s.mux.HandleFunc("POST /v1/sql", s.sql)
	schemas := api.OpenAPI().Components.Schemas
	text, binary := &huma.Schema{Type: "string"}, &huma.Schema{Type: "string", Format: "binary"}
	result := huma.SchemaFromType(schemas, reflect.TypeFor[SQLResultDoc]())
	api.OpenAPI().AddOperation(&huma.Operation{
		Method: http.MethodPost, Path: "/v1/sql", OperationID: "sql", Tags: []string{"tables"},
		Summary: "Ask with SQL",
		Description: "Runs one SELECT over the schemas curated and system, in the dialect of DuckDB, and streams the result in the format that Accept names. " +
			"It ends when the client goes. An error after the first rows stands in the member error of JSON and in a last line of NDJSON, and cuts the connection in every format.",
		RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
			"application/json": {Schema: huma.SchemaFromType(schemas, reflect.TypeFor[SQLDoc]())},
			"application/sql":  {Schema: text, Example: "SELECT count(*) FROM curated.telemetry"},
		}},
		Responses: map[string]*huma.Response{
			"200": {Description: "The result", Content: map[string]*huma.MediaType{
				query.JSON.ContentType():    {Schema: result},
				query.NDJSON.ContentType():  {Schema: text},
				"text/csv":                  {Schema: text},
				query.Arrow.ContentType():   {Schema: binary},
				query.Parquet.ContentType(): {Schema: binary},
			}},
			"400":     problemResponse(api, "The statement is faulty; the detail says where"),
			"403":     problemResponse(api, "The statement does more than read tables"),
			"404":     problemResponse(api, "There is no such table"),
			"406":     problemResponse(api, "No format is acceptable"),
			"default": problemResponse(api, "Error"),
		},
	})
}

// SQLResultDoc is a result in JSON.
type SQLResultDoc struct {
	Columns   []query.Column    `json:"columns"`
	Rows      []json.RawMessage `json:"rows" doc:"One object per row"`
	Error     *Problem          `json:"error,omitempty" doc:"What ended the rows early: code, detail and hint"`
	RowCount  int64             `json:"row_count"`
	ElapsedMS float64           `json:"elapsed_ms"`
}

func (s *Server) sql(w http.ResponseWriter, r *http.Request) {
	req, err := readSQL(w, r)
	if err == nil {
		req.Format, err = query.FormatOf(strings.Join(r.Header.Values("Accept"), ","))
		if err != nil {
			doc := problem(tarn.CodeUnsupported, "the Accept header names no format there is", "accept application/json, application/x-ndjson, text/csv, "+query.Arrow.ContentType()+" or "+query.Parquet.ContentType())
			doc.Status, doc.Title = http.StatusNotAcceptable, http.StatusText(http.StatusNotAcceptable)
			err = doc
		}
	}
	var res *query.Result
	if err == nil {
		res, err = s.opts.Query.Run(r.Context(), req)
	}
	if err != nil {
		s.problems.Write(w, r, err)
		return
	}
	defer res.Close()
	out := &resultWriter{w: w, rc: http.NewResponseController(w), contentType: req.Format.ContentType()}
	err = res.Write(out)
	switch {
	case err != nil && !out.begun:
		s.problems.Write(w, r, err)
	case err != nil: // no reader may take a part for the whole, whatever the format says of the error
		s.opts.Logger.Debug("a result was cut", "err", err)
		_ = out.rc.Flush() // the error that JSON and NDJSON end in
		panic(http.ErrAbortHandler)
	default:
		if err := out.finish(); err != nil {
			s.opts.Logger.Debug("the client of a result went away", "err", err)
		}
	}
}

func readSQL(w http.ResponseWriter, r *http.Request) (query.Request, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxSQLBody))
	if err != nil {
		var tooLong *http.MaxBytesError
		if errors.As(err, &tooLong) {
			return query.Request{}, err
		}
		return query.Request{}, &tarn.Error{Code: tarn.CodeInvalid, Detail: "the body could not be read", Hint: sqlHint, Err: err}
	}
	if r.URL.RawQuery != "" {
		return query.Request{}, &tarn.Error{Code: tarn.CodeInvalid, Detail: "there are no parameters in the URL here", Hint: sqlHint}
	}
	t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	isJSON := strings.HasPrefix(strings.TrimSpace(string(body[:min(len(body), 100)])), "{")
	switch {
	case t == "application/sql", t == "text/plain" && !isJSON:
		return query.Request{SQL: string(body)}, nil
	case t == "application/json", isJSON && (t == "" || t == "application/x-www-form-urlencoded" || t == "text/plain"): // the type curl sends unless told otherwise
		return decodeSQL(body)
	}
	return query.Request{}, &tarn.Error{Code: tarn.CodeUnsupported, Detail: "the content type " + strconv.Quote(clip(r.Header.Get("Content-Type"))) + " is not supported", Hint: sqlHint, Err: err}
}

func decodeSQL(body []byte) (query.Request, error) {
	var doc SQLDoc
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	dec.UseNumber() // parameters keep all their digits
	err := dec.Decode(&doc)
	if err == nil && dec.More() {
		err = errors.New("text follows the document")
	}
	if err != nil {
		return query.Request{}, &tarn.Error{Code: tarn.CodeInvalid, Detail: "the body is not a statement: " + strings.TrimPrefix(err.Error(), "json: "), Hint: sqlHint}
	}
	req := query.Request{SQL: doc.SQL, Params: doc.Params, Timeout: time.Duration(doc.TimeoutMS) * time.Millisecond}
	switch {
	case strings.TrimSpace(doc.SQL) == "":
		return req, &tarn.Error{Code: tarn.CodeInvalid, Detail: "the statement is empty", Hint: sqlHint}
	case doc.TimeoutMS < 0:
		return req, &tarn.Error{Code: tarn.CodeInvalid, Detail: "timeout_ms is negative"}
	case doc.At != "":
		at, err := parseAt(doc.At)
		if err != nil {
			return req, err
		}
		req.At = at
	}
	return req, nil
}

func parseAt(s string) (*query.AsOf, error) {
	if id, err := strconv.ParseInt(s, 10, 64); err == nil && id > 0 {
		return &query.AsOf{Snapshot: id}, nil
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return nil, &tarn.Error{Code: tarn.CodeInvalid, Detail: "at=" + strconv.Quote(clip(s)) + " is neither a time nor the id of a snapshot", Hint: "write a time like 2026-11-20T03:00:00Z; system.snapshots lists the ids"}
	}
	return &query.AsOf{Time: t}, nil
}

// resultWriter holds the first bytes of a result back, and bounds the time of every write.
type resultWriter struct {
	w           http.ResponseWriter
	rc          *http.ResponseController
	contentType string
	held        []byte
	begun       bool
}

// Write implements io.Writer.
func (o *resultWriter) Write(b []byte) (int, error) {
	if !o.begun {
		if o.held = append(o.held, b...); len(o.held) < sqlHold {
			return len(b), nil
		}
		return len(b), o.begin()
	}
	_ = o.rc.SetWriteDeadline(time.Now().Add(writeTimeout)) // an error means there is no connection to wait for
	return o.w.Write(b)
}

// begin sends the status and what was held back.
func (o *resultWriter) begin() error {
	o.begun = true
	o.w.Header().Set("Content-Type", o.contentType)
	_ = o.rc.SetWriteDeadline(time.Now().Add(writeTimeout))
	_, err := o.w.Write(o.held)
	o.held = nil
	return err
}

// finish sends what is left and lifts the deadline for the next request of the connection.
func (o *resultWriter) finish() error {
	var err error
	if !o.begun {
		o.w.Header().Set("Content-Length", strconv.Itoa(len(o.held)))
		err = o.begin()
	}
	_ = o.rc.SetWriteDeadline(time.Time{})
	return err
}
