package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/cmd/tarn/internal/screen"
	"github.com/tarn-data/tarn/cmd/tarn/internal/sqltext"
	"github.com/tarn-data/tarn/query"
	"github.com/tarn-data/tarn/server"
)

// asker is one run of sql.
type asker struct {
	app    *app
	format string
	output string
	params []string
	at     string
	rows   int  // rows a table shows
	timing bool // say how long it took
}

func (a *app) sqlCommand() *cobra.Command {
	q := asker{app: a}
	var file string
	c := a.clientFlags(&cobra.Command{
		Use:   "sql [STATEMENT]",
		Short: "Ask with SQL, once or in a shell",
		Long: `Runs SELECT statements on a running lake, records that arrived a moment ago included. Without a
statement it reads them from standard input, or starts a shell on a terminal. The dialect is
DuckDB's; tables are in the schemas curated, cleaned, raw, twin and system; SHOW TABLES lists them.
Past states: --at, or in the statement
FROM curated.telemetry AT (TIMESTAMP => TIMESTAMP '2026-11-20 03:00:00').`,
		Example: `  tarn sql "SELECT count(*) FROM curated.telemetry"
  tarn sql "SELECT * FROM curated.telemetry WHERE device_id = ?" --param w-17 --format csv
  tarn sql "SELECT * FROM curated.telemetry" --format parquet --output telemetry.parquet
  tarn sql -f report.sql --at 2026-11-20T03:00:00Z
  tarn sql`,
		Args: args(0, 1, "one statement; put it in quotes"),
	})
	f := c.Flags()
	f.StringVar(&q.format, "format", "table", "table, json, ndjson, csv, parquet or arrow")
	f.StringVarP(&q.output, "output", "o", "", "write the result to this file")
	f.StringArrayVarP(&q.params, "param", "p", nil, "value for ? or $1, $2, …: JSON, or else text; repeat it")
	f.StringVar(&q.at, "at", "", "read the tables as of this time or snapshot id")
	f.StringVarP(&file, "file", "f", "", "read the statements from this file")
	f.IntVar(&q.rows, "rows", 10_000, "rows that a table shows at most")
	c.RunE = func(c *cobra.Command, args []string) error {
		if err := q.check(c, args, file); err != nil {
			return err
		}
		text, err := q.text(args, file)
		if err != nil {
			return err
		}
		if text == nil {
			return q.shell(c.Context())
		}
		return q.script(c.Context(), *text)
	}
	return c
}

func (q *asker) check(c *cobra.Command, args []string, file string) error {
	if q.app.json && !c.Flags().Changed("format") {
		q.format = "json"
	}
	if q.format != "table" {
		f, err := query.ParseFormat(q.format)
		if err != nil {
			return usage(c, "--format is table, json, ndjson, csv, parquet or arrow, not %q", q.format)
		}
		_, terminal := screen.Terminal(q.app.out)
		if (f == query.Parquet || f == query.Arrow) && q.output == "" && terminal {
			return usage(c, "%s is not for a terminal: name a file with --output", q.format)
		}
	}
	if len(args) > 0 && file != "" {
		return usage(c, "a statement and --file exclude each other")
	}
	return nil
}

// text returns the statements to run, nil for the shell.
func (q *asker) text(args []string, file string) (*string, error) {
	switch {
	case len(args) == 1:
		return &args[0], nil
	case file != "":
		b, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, unwrapPath(err))
		}
		s := string(b)
		return &s, nil
	case screen.IsTerminal(q.app.in):
		return nil, nil
	}
	b, err := io.ReadAll(q.app.in)
	if err != nil {
		return nil, fmt.Errorf("standard input: %w", err)
	}
	s := string(b)
	return &s, nil
}

// script runs statements one after the other, to the first that fails.
func (q *asker) script(ctx context.Context, text string) error {
	statements, rest, _ := sqltext.Split(text)
	if !sqltext.Blank(rest) {
		statements = append(statements, strings.TrimSpace(rest))
	}
	if len(statements) == 0 {
		return &tarn.Error{Code: tarn.CodeInvalid, Detail: "there is no statement", Hint: `write it in quotes: tarn sql "SELECT …"`}
	}
	if len(statements) > 1 && q.output != "" {
		return &tarn.Error{Code: tarn.CodeInvalid, Detail: "--output takes the result of one statement", Hint: "run them one by one"}
	}
	for _, s := range statements {
		if err := q.run(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// run asks one statement and prints its result.
func (q *asker) run(ctx context.Context, statement string) error {
	start := time.Now()
	resp, err := q.ask(ctx, statement)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if q.format == "table" {
		return q.table(ctx, resp.Body, start)
	}
	if q.output == "" {
		return q.copy(ctx, q.app.out, resp.Body)
	}
	// A name that is there holds a whole result.
	part := q.output + ".part"
	f, err := os.Create(part)
	if err != nil {
		return fmt.Errorf("%s: %w", part, unwrapPath(err))
	}
	err = q.copy(ctx, f, resp.Body)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(part, q.output)
	}
	if err != nil {
		_ = os.Remove(part) // half a result is of no use
	}
	return err
}

func (q *asker) ask(ctx context.Context, statement string) (*http.Response, error) {
	cl, err := q.app.client()
	if err != nil {
		return nil, err
	}
	doc := server.SQLDoc{SQL: statement, At: q.at}
	for _, p := range q.params {
		doc.Params = append(doc.Params, param(p))
	}
	body, err := json.Marshal(doc)
	if err != nil {
		return nil, err
	}
	accept := query.JSON
	if q.format != "table" {
		if accept, err = query.ParseFormat(q.format); err != nil {
			return nil, err
		}
	}
	return cl.Do(ctx, http.MethodPost, "/v1/sql", http.Header{"Content-Type": {"application/json"}, "Accept": {accept.ContentType()}}, body)
}

// param reads the value of --param: JSON where it is, text otherwise.
func param(s string) any {
	var v any
	dec := json.NewDecoder(strings.NewReader(s))
	dec.UseNumber()
	if dec.Decode(&v) == nil && !dec.More() {
		if _, object := v.(map[string]any); !object {
			return v
		}
	}
	return s
}

// copy writes a result as it comes. A result that broke off is an error, with the server's reason
// where the format tells it.
func (q *asker) copy(ctx context.Context, w io.Writer, body io.Reader) error {
	end := &lastBytes{limit: 8 << 10}
	_, err := io.Copy(w, io.TeeReader(body, end))
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, io.ErrUnexpectedEOF):
		return end.reason()
	}
	return err
}

// lastBytes keeps the end of what is written to it.
type lastBytes struct {
	limit int
	b     []byte
}

func (l *lastBytes) Write(p []byte) (int, error) {
	l.b = append(l.b, p[max(0, len(p)-l.limit):]...)
	l.b = l.b[max(0, len(l.b)-l.limit):]
	return len(p), nil
}

var errBrokeOff = &tarn.Error{Code: tarn.CodeUnavailable, Detail: "the result broke off: what was printed is not all of it", Hint: "see the log of the server"}

// reason finds the error that JSON and NDJSON end in.
func (l *lastBytes) reason() error {
	n := strings.LastIndex(string(l.b), `"error":{"code"`)
	if n < 0 {
		return errBrokeOff
	}
	var e server.Problem
	if json.NewDecoder(strings.NewReader(string(l.b[n+len(`"error":`):]))).Decode(&e) != nil {
		return errBrokeOff
	}
	return &tarn.Error{Code: e.Code, Detail: e.Detail, Hint: e.Hint}
}
