package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/cmd/tarn/internal/client"
	"github.com/tarn-data/tarn/cmd/tarn/internal/screen"
	"github.com/tarn-data/tarn/function"
	"github.com/tarn-data/tarn/function/firehose"
)

// invocation is one run of tarn functions invoke.
type invocation struct {
	app      *app
	client   *client.Client
	name     string
	pipeline string
	firehose bool
	quiet    bool
}

func (a *app) invokeCommand() *cobra.Command {
	i := &invocation{app: a}
	c := a.clientFlags(&cobra.Command{
		Use:   "invoke FUNCTION [EVENT.json|-]",
		Short: "Invoke a function and print its answer",
		Long: `Invokes a function with the event in a file, or on standard input (-), or {}, and prints its answer. What
it wrote to standard output and error goes to standard error. Nothing goes into a stream. An error of
the function is printed with type, message and stack, and the exit status is 1.

With --firehose the file holds one record a line. They are sent as one event of a Firehose
transformation, as pipelines do, and what became of each record is printed; the exit status is 1
when one failed.`,
		Example: `  tarn functions invoke fetch
  tarn functions invoke enrich event.json
  tarn functions invoke enrich --firehose records.ndjson
  head -5 records.ndjson | tarn functions invoke enrich --firehose -`,
		Args: args(1, 2, "a function and at most one file"),
		RunE: func(c *cobra.Command, args []string) (err error) {
			if i.client, err = a.client(); err != nil {
				return err
			}
			i.name = args[0]
			file := ""
			if len(args) == 2 {
				file = args[1]
			}
			if i.firehose && file == "" {
				return usage(c, "--firehose needs a file of records, or - for standard input")
			}
			return i.run(c.Context(), file)
		},
	})
	c.Flags().StringVar(&i.pipeline, "pipeline", "", "the pipeline that its log lines shall name")
	c.Flags().BoolVar(&i.firehose, "firehose", false, "the file holds records, one a line, for a Firehose event")
	c.Flags().BoolVarP(&i.quiet, "quiet", "q", false, "do not print what the function wrote")
	return c
}

func (i *invocation) run(ctx context.Context, file string) error {
	in, err := i.read(file)
	if err != nil {
		return err
	}
	if !i.firehose {
		answer, err := i.invoke(ctx, in)
		if err != nil {
			return err
		}
		if i.app.json {
			return i.app.printJSON(json.RawMessage(answer))
		}
		_, err = fmt.Fprintln(i.app.out, strings.TrimRight(string(answer), "\n"))
		return err
	}
	return i.transform(ctx, in)
}

// read returns the content of the file, at most what an event can hold.
func (i *invocation) read(file string) ([]byte, error) {
	in := io.NopCloser(i.app.in)
	switch file {
	case "":
		return nil, nil
	case "-":
	default:
		f, err := os.Open(file)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, unwrapPath(err))
		}
		in = f
	}
	defer in.Close()
	b, err := io.ReadAll(io.LimitReader(in, function.MaxPayloadBytes+1))
	if err == nil && len(b) > function.MaxPayloadBytes {
		err = &tarn.Error{Code: tarn.CodeTooLarge, Detail: "an event holds at most " + screen.Bytes(int64(function.MaxPayloadBytes))}
	}
	return b, err
}

// invoke sends an event and prints what the function wrote meanwhile.
func (i *invocation) invoke(ctx context.Context, event []byte) ([]byte, error) {
	path := "/v1/functions/" + url.PathEscape(i.name) + "/invocations"
	if i.pipeline != "" {
		path += "?" + url.Values{"pipeline": {i.pipeline}}.Encode()
	}
	resp, err := i.client.Do(ctx, http.MethodPost, path, http.Header{"Content-Type": {"application/json"}, "Accept": {"application/json"}}, event)
	if err != nil {
		var answer *client.Error
		if errors.As(err, &answer) && answer.RequestID != "" {
			i.printOutput(ctx, answer.RequestID)
			i.explain(answer)
		}
		return nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, &tarn.Error{Code: tarn.CodeUnavailable, Detail: "the answer broke off", Err: err}
	}
	i.printOutput(ctx, resp.Header.Get("Tarn-Request-Id"))
	return answer, nil
}

// printOutput shows the lines of one invocation. They are only a help: without them the answer stands.
func (i *invocation) printOutput(ctx context.Context, requestID string) {
	if i.quiet || requestID == "" {
		return
	}
	_ = i.app.functionLogs(ctx, i.name, url.Values{"n": {"1000"}, "request_id": {requestID}}, i.app.errOut)
}

// explain prints what the function said of its error.
func (i *invocation) explain(e *client.Error) {
	f := e.Function
	if f == nil {
		return
	}
	head := f.Message
	if f.Type != "" {
		head = f.Type + ": " + head
	}
	for _, line := range append([]string{head, f.Status}, f.Stack...) {
		for part := range strings.Lines(line) {
			if part = strings.TrimRight(part, "\n"); part != "" {
				fmt.Fprintln(i.app.errOut, screen.Visible(part))
			}
		}
	}
}

// outcomeDoc is what became of one record.
type outcomeDoc struct {
	Line          int               `json:"line"`
	Result        string            `json:"result"`
	Record        json.RawMessage   `json:"record,omitempty"`
	Data          *string           `json:"data,omitempty"` // when it is no JSON
	PartitionKeys map[string]string `json:"partition_keys,omitempty"`
	Reason        string            `json:"reason,omitempty"`
}

// transform sends the lines of a file as a Firehose event and prints what became of each.
func (i *invocation) transform(ctx context.Context, lines []byte) error {
	var records []firehose.Record
	var numbers []int
	scan := bufio.NewScanner(bytes.NewReader(lines))
	scan.Buffer(nil, len(lines)+1)
	for n := 1; scan.Scan(); n++ {
		if len(bytes.TrimSpace(scan.Bytes())) > 0 {
			records = append(records, firehose.Record{Position: tarn.Position{Offset: uint64(n - 1)}, Arrival: time.Now(), Data: bytes.Clone(scan.Bytes())})
			numbers = append(numbers, n)
		}
	}
	if len(records) == 0 {
		return &tarn.Error{Code: tarn.CodeInvalid, Detail: "there are no records", Hint: "write one a line"}
	}
	h := firehose.Header{InvocationID: uuid.NewString(), Stream: "invoke", Kinesis: true}
	n, size := firehose.Fit(h, records)
	if n < len(records) {
		return &tarn.Error{Code: tarn.CodeTooLarge, Detail: fmt.Sprintf("an event holds only the first %d of the %d records", n, len(records)), Hint: "send fewer"}
	}
	answer, err := i.invoke(ctx, firehose.AppendEvent(make([]byte, 0, size), h, records))
	if err != nil {
		return err
	}
	var d firehose.Decoder
	outcomes, err := d.Decode(answer, records)
	if err != nil {
		return err
	}
	failed := 0
	for k, o := range outcomes {
		if o.Result == firehose.Failed {
			failed++
		}
		if err := i.printOutcome(numbers[k], o); err != nil {
			return err
		}
	}
	if failed > 0 {
		i.app.say(screen.Plural(failed, "record") + " failed")
		return errReported
	}
	return nil
}

func (i *invocation) printOutcome(line int, o firehose.Outcome) error {
	doc := outcomeDoc{Line: line, Reason: o.Reason}
	switch o.Result {
	case firehose.Dropped:
		doc.Result = "Dropped"
	case firehose.Failed:
		doc.Result = "ProcessingFailed"
	case firehose.Ok:
		doc.Result = "Ok"
		if json.Valid(o.Data) {
			doc.Record = o.Data
		} else {
			text := string(o.Data)
			doc.Data = &text
		}
	}
	for _, k := range o.PartitionKeys {
		if doc.PartitionKeys == nil {
			doc.PartitionKeys = map[string]string{}
		}
		doc.PartitionKeys[k.Name] = k.Value
	}
	b, err := json.Marshal(doc)
	if err == nil {
		_, err = fmt.Fprintln(i.app.out, string(b))
	}
	return err
}
