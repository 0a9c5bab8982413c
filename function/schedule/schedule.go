package schedule

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	"github.com/tarn-data/tarn"
)

// Event is one run of a source function.
type Event struct {
	ID       string    // the same for every attempt at one slot, so that a function can use it as an idempotency key
	Pipeline string    // for which it runs
	Slot     time.Time // the time it was due, not the time it runs
	Detail   []byte    // JSON object for the function; nil for an empty one
}

// Append appends the event in the form of EventBridge's "Scheduled Event"
// (https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-run-lambda-schedule.html). Its time is the
// slot with whole seconds, its resource the rule of the pipeline.
func (e Event) Append(dst []byte) []byte {
	doc := struct {
		Version    string          `json:"version"`
		ID         string          `json:"id"`
		DetailType string          `json:"detail-type"`
		Source     string          `json:"source"`
		Account    string          `json:"account"`
		Time       string          `json:"time"`
		Region     string          `json:"region"`
		Resources  []string        `json:"resources"`
		Detail     json.RawMessage `json:"detail"`
	}{
		Version: "0", ID: e.ID, DetailType: "Scheduled Event", Source: "aws.events", Account: "000000000000",
		Time: e.Slot.UTC().Format(time.RFC3339), Region: "us-east-1",
		Resources: []string{"arn:aws:events:us-east-1:000000000000:rule/" + e.Pipeline},
		Detail:    e.Detail,
	}
	if len(doc.Detail) == 0 || !json.Valid(doc.Detail) {
		doc.Detail = json.RawMessage("{}")
	}
	b, _ := json.Marshal(doc) // strings and valid JSON: cannot fail
	return append(dst, b...)
}

// Records reads the answer of a source function: a JSON array of records, or an object whose "records"
// is one; null, and an object without records, stand for none. A record that is a string is its text,
// any other value is its JSON as the function wrote it, without white space around it. The records
// share memory with answer where they can. An error is a *tarn.Error.
func Records(answer []byte) ([][]byte, error) {
	list := bytes.Trim(answer, " \t\r\n") // what JSON calls white space
	if len(list) > 0 && list[0] == '{' {
		var doc struct {
			Records json.RawMessage `json:"records"`
		}
		if err := json.Unmarshal(list, &doc); err != nil {
			return nil, notRecords(err)
		}
		if list = doc.Records; list == nil {
			return nil, nil
		}
	}
	var values []json.RawMessage
	if err := json.Unmarshal(list, &values); err != nil {
		return nil, notRecords(err)
	}
	out := make([][]byte, len(values))
	for i, v := range values {
		out[i] = v
		if v[0] != '"' {
			continue
		}
		var text string
		if err := json.Unmarshal(v, &text); err != nil {
			return nil, notRecords(err)
		}
		out[i] = []byte(text)
	}
	return out, nil
}

// State returns what an answer that is an object holds under "state", for the next run, as JSON without
// white space around it; nil when there is none. The answer is one that Records reads.
func State(answer []byte) []byte {
	list := bytes.TrimLeft(answer, " \t\r\n")
	if len(list) == 0 || list[0] != '{' {
		return nil
	}
	var doc struct {
		State json.RawMessage `json:"state"`
	}
	if json.Unmarshal(list, &doc) != nil {
		return nil
	}
	return doc.State
}

func notRecords(err error) error {
	return &tarn.Error{
		Code: tarn.CodeInvalid, Detail: fmt.Sprintf("the function's answer is not a list of records: %v", err),
		Hint: `answer [record, …] or {"records": [record, …]}`,
	}
}
