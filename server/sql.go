package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"reflect"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/query"
)

// maxStatement bounds the body of POST /v1/sql.
const maxStatement = 2 << 20

// SQLDoc is the body of POST /v1/sql.
type SQLDoc struct {
	SQL    string `json:"sql" doc:"One SELECT statement"`
	Params []any  `json:"params,omitempty" doc:"Values for ? or $1, $2, …"`
	At     string `json:"at,omitempty" doc:"Read the tables as of this time (RFC 3339) or snapshot id"`
}

// mountSQL mounts and documents POST /v1/sql, which streams its answer.
func (s *Server) mountSQL(api huma.API) {
	s.mux.HandleFunc("POST /v1/sql", s.sql)
	content := map[string]*huma.MediaType{}
	for _, f := range []query.Format{query.JSON, query.NDJSON, query.CSV, query.Arrow, query.Parquet} {
		content[f.ContentType()] = &huma.MediaType{}
	}
	api.OpenAPI().AddOperation(&huma.Operation{
		Method: http.MethodPost, Path: "/v1/sql", OperationID: "sql", Tags: []string{"sql"}, Summary: "Ask with SQL",
		Description: "Runs one SELECT over the tables, the records that arrived a moment ago included. The answer comes in the format that Accept asks for, and the statement ends when the client goes.",
		RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
			"application/json": {Schema: huma.SchemaFromType(api.OpenAPI().Components.Schemas, reflect.TypeFor[SQLDoc]()),
				Example: map[string]any{"sql": "SELECT device_id, max(ts) FROM curated.telemetry WHERE ts > ? GROUP BY ALL", "params": []any{"2026-11-20T03:00:00Z"}}},
		}},
		Responses: map[string]*huma.Response{
			"200":     {Description: "The rows", Content: content},
			"default": problemResponse(api, "Error"),
		},
	})
}

// sql answers POST /v1/sql. Until the first row is there an error has its status; later the format
// tells it (see query.Format) and the connection is cut, so that no reader takes a part for the whole.
func (s *Server) sql(w http.ResponseWriter, r *http.Request) {
	req, err := readStatement(w, r)
	if err == nil {
		req.Format, err = query.FormatOf(r.Header.Get("Accept"))
	}
	if err != nil {
		s.problems.Write(w, r, err)
		return
	}
	res, err := s.opts.Query.Run(r.Context(), req)
	if err != nil {
		s.problems.Write(w, r, err)
		return
	}
	defer res.Close()
	out := &started{w: w}
	w.Header().Set("Content-Type", req.Format.ContentType())
	err = res.Write(out)
	switch {
	case err == nil:
	case !out.yes:
		w.Header().Del("Content-Type")
		s.problems.Write(w, r, err)
	case r.Context().Err() == nil:
		s.opts.Logger.Warn("a result ended early", "error", err)
		panic(http.ErrAbortHandler)
	}
}

// started notes whether anything has been written.
type started struct {
	w   io.Writer
	yes bool
}

func (s *started) Write(p []byte) (int, error) {
	s.yes = true
	return s.w.Write(p)
}

func readStatement(w http.ResponseWriter, r *http.Request) (query.Request, error) {
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTimeout))
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxStatement))
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return query.Request{}, &tarn.Error{Code: tarn.CodeTooLarge, Detail: "the statement is larger than 2 MiB"}
	case err != nil:
		return query.Request{}, &tarn.Error{Code: tarn.CodeInvalid, Detail: "the body could not be read", Err: err}
	}
	var doc SQLDoc
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	d.DisallowUnknownFields()
	if err := d.Decode(&doc); err != nil {
		return query.Request{}, &tarn.Error{Code: tarn.CodeInvalid, Detail: "the body is not a statement: " + err.Error(), Hint: `send {"sql": "SELECT …", "params": [], "at": "2026-11-20T03:00:00Z"}; params and at are optional`}
	}
	req := query.Request{SQL: doc.SQL, Params: make([]any, len(doc.Params))}
	for i, p := range doc.Params {
		req.Params[i] = plainNumbers(p)
	}
	if doc.At != "" {
		at, err := parseAsOf(doc.At)
		if err != nil {
			return req, err
		}
		req.At = at
	}
	return req, nil
}

// plainNumbers makes integers int64 and other numbers float64.
func plainNumbers(v any) any {
	switch v := v.(type) {
	case json.Number:
		if i, err := v.Int64(); err == nil {
			return i
		}
		f, _ := v.Float64()
		return f
	case []any:
		for i := range v {
			v[i] = plainNumbers(v[i])
		}
	}
	return v
}

func parseAsOf(s string) (*query.AsOf, error) {
	if id, err := strconv.ParseInt(s, 10, 64); err == nil {
		return &query.AsOf{Snapshot: id}, nil
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return nil, &tarn.Error{Code: tarn.CodeInvalid, Detail: strconv.Quote(s) + " is neither a time nor a snapshot id", Hint: "write it like 2026-11-20T03:00:00Z"}
	}
	return &query.AsOf{Time: t}, nil
}
