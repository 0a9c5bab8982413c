// Command gohandler is the transformation that the benchmark runs, as a bootstrap in Go. Called with
// the name of an event's file and a count, it calls its handler so often in a bare loop and prints the
// seconds taken.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambda"
)

// warmUp calls are not measured, as in the other languages.
const warmUp = 50

func main() {
	if len(os.Args) == 3 {
		if err := bare(os.Args[1], os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if os.Getenv("_HANDLER") == "echo" {
		lambda.Start(func(_ context.Context, e json.RawMessage) (json.RawMessage, error) { return e, nil })
	}
	lambda.Start(transform)
}

func transform(_ context.Context, e events.KinesisFirehoseEvent) (out events.KinesisFirehoseResponse, err error) {
	for _, r := range e.Records {
		var payload map[string]any
		if err := json.Unmarshal(r.Data, &payload); err != nil {
			return out, err
		}
		payload["enriched"] = true
		data, err := json.Marshal(payload)
		if err != nil {
			return out, err
		}
		out.Records = append(out.Records, events.KinesisFirehoseResponseRecord{
			RecordID: r.RecordID, Result: events.KinesisFirehoseTransformedStateOk, Data: append(data, '\n')})
	}
	return out, nil
}

func bare(path, count string) error {
	event, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(count)
	if err != nil {
		return err
	}
	h := lambda.NewHandler(transform) // with aws-lambda-go's own decoding and encoding
	var begun time.Time
	for i := range warmUp + n {
		if i == warmUp {
			begun = time.Now()
		}
		if _, err := h.Invoke(context.Background(), event); err != nil {
			return err
		}
	}
	fmt.Println(time.Since(begun).Seconds())
	return nil
}
