package firehose_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/function/firehose"
)

// wireEvent is the event as an independent reader sees it.
type wireEvent struct {
	InvocationID      string `json:"invocationId"`
	DeliveryStreamArn string `json:"deliveryStreamArn"`
	SourceArn         string `json:"sourceKinesisStreamArn"`
	Region            string
	Records           []struct {
		RecordID string `json:"recordId"`
		Arrival  int64  `json:"approximateArrivalTimestamp"`
		Data     []byte
		Kinesis  *struct {
			SequenceNumber, PartitionKey, ShardID string
		} `json:"kinesisRecordMetadata"`
	}
}

func someRecords(n, size int) []firehose.Record {
	out := make([]firehose.Record, n)
	for i := range out {
		out[i] = firehose.Record{
			Position: tarn.Position{Shard: i % 3, Offset: uint64(1000 + i)}, Arrival: time.UnixMilli(1_790_000_000_000 + int64(i)),
			PartitionKey: fmt.Sprintf("wagon \"%d\"\n", i), Data: []byte(strings.Repeat("x", size+i%7)),
		}
	}
	return out
}

func TestEvent(t *testing.T) {
	for _, kinesis := range []bool{false, true} {
		records := someRecords(5, 10)
		h := firehose.Header{InvocationID: "run-1", Stream: "telemetry", Kinesis: kinesis}
		b := firehose.AppendEvent(nil, h, records)
		var e wireEvent
		if err := json.Unmarshal(b, &e); err != nil {
			t.Fatalf("%v\n%s", err, b)
		}
		if e.InvocationID != "run-1" || !strings.HasSuffix(e.DeliveryStreamArn, "/telemetry") || e.Region == "" || len(e.Records) != 5 {
			t.Fatalf("%+v", e)
		}
		for i, r := range e.Records {
			want := records[i]
			if r.RecordID != want.Position.String() || r.Arrival != want.Arrival.UnixMilli() || string(r.Data) != string(want.Data) {
				t.Errorf("record %d: %+v", i, r)
			}
			if kinesis && (r.Kinesis == nil || r.Kinesis.PartitionKey != want.PartitionKey || r.Kinesis.ShardID != fmt.Sprintf("shardId-%012d", want.Position.Shard)) {
				t.Errorf("record %d: %+v", i, r.Kinesis)
			}
		}
		if n, size := firehose.Fit(h, records); n != 5 || size != len(b) {
			t.Errorf("Fit says %d records, %d bytes; the event has %d", n, size, len(b))
		}
	}
}

func TestFit(t *testing.T) {
	h := firehose.Header{InvocationID: "i", Stream: "s"}
	records := someRecords(20_000, 700)
	for rest := records; len(rest) > 0; {
		n, size := firehose.Fit(h, rest)
		b := firehose.AppendEvent(nil, h, rest[:n])
		if len(b) != size || size > firehose.MaxEventBytes {
			t.Fatalf("%d records: %d bytes, Fit says %d", n, len(b), size)
		}
		if n < len(rest) && len(firehose.AppendEvent(nil, h, rest[:n+1])) <= firehose.MaxEventBytes {
			t.Fatal("one more would fit")
		}
		rest = rest[n:]
	}
	if n, _ := firehose.Fit(h, someRecords(1, 5<<20)); n != 0 {
		t.Error("a record of 5 MiB fits into no event")
	}
}

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func TestDecode(t *testing.T) {
	sent := []firehose.Record{{Position: tarn.Position{Offset: 7}}, {Position: tarn.Position{Offset: 8}}}
	ok := func(data string, keys ...firehose.PartitionKey) firehose.Outcome {
		return firehose.Outcome{Result: firehose.Ok, Data: []byte(data), PartitionKeys: keys}
	}
	fail := func(reason string) firehose.Outcome { return firehose.Outcome{Reason: reason} }
	good := `{"recordId":"0:8","result":"Ok","data":"` + b64("B") + `"}`
	first := func(s string) string { return `{"records":[` + s + `,` + good + `]}` }
	for name, tc := range map[string]struct {
		answer string
		want   []firehose.Outcome // nil: an error for all
	}{
		"in order":              {first(`{"recordId":"0:7","result":"Ok","data":"` + b64("A") + `"}`), []firehose.Outcome{ok("A"), ok("B")}},
		"out of order":          {`{"records":[` + good + `,{"recordId":"0:7","result":"Dropped","data":"ignored!"}]}`, []firehose.Outcome{{Result: firehose.Dropped}, ok("B")}},
		"more around":           {`{"n":[1.5e3,{"x":null}],"records":[` + good + `,{"recordId":"0:7","result":"Dropped"}],"z":"ü\"\\"}`, []firehose.Outcome{{Result: firehose.Dropped}, ok("B")}},
		"escaped":               {first(`{"record\u0049d":"0\u003a7","result":"\u004fk","data":"` + `\/\/8=` + `"}`), []firehose.Outcome{ok("\xff\xff"), ok("B")}},
		"processing failed":     {first(`{"recordId":"0:7","result":"ProcessingFailed","data":"x"}`), []firehose.Outcome{fail(firehose.ReasonProcessingFailed), ok("B")}},
		"wrong result":          {first(`{"recordId":"0:7","result":"OK","data":"x"}`), []firehose.Outcome{fail(firehose.ReasonResult), ok("B")}},
		"result is a number":    {first(`{"recordId":"0:7","result":1,"data":"x"}`), []firehose.Outcome{fail(firehose.ReasonResult), ok("B")}},
		"no data":               {first(`{"recordId":"0:7","result":"Ok"}`), []firehose.Outcome{fail(firehose.ReasonNoData), ok("B")}},
		"null data":             {first(`{"recordId":"0:7","result":"Ok","data":null}`), []firehose.Outcome{fail(firehose.ReasonNoData), ok("B")}},
		"empty data":            {first(`{"recordId":"0:7","result":"Ok","data":""}`), []firehose.Outcome{ok(""), ok("B")}},
		"bad base64":            {first(`{"recordId":"0:7","result":"Ok","data":"%%%"}`), []firehose.Outcome{fail(firehose.ReasonBase64 + ": illegal base64 data at input byte 0"), ok("B")}},
		"missing":               {`{"records":[` + good + `]}`, []firehose.Outcome{fail(firehose.ReasonMissing), ok("B")}},
		"twice":                 {`{"records":[` + good + `,{"recordId":"0:7","result":"Dropped"},` + good + `]}`, []firehose.Outcome{{Result: firehose.Dropped}, fail(firehose.ReasonTwice)}},
		"three times":           {`{"records":[` + good + `,` + good + `,` + good + `]}`, []firehose.Outcome{fail(firehose.ReasonMissing), fail(firehose.ReasonTwice)}},
		"partition keys":        {first(`{"recordId":"0:7","result":"Ok","data":"","metadata":{"partitionKeys":{"year":"2026","n":7,"b":true}}}`), []firehose.Outcome{ok("", firehose.PartitionKey{"year", "2026"}, firehose.PartitionKey{"n", "7"}, firehose.PartitionKey{"b", "true"}), ok("B")}},
		"bad partition keys":    {first(`{"recordId":"0:7","result":"Ok","data":"","metadata":{"partitionKeys":{"year":["2026"]}}}`), []firehose.Outcome{fail(firehose.ReasonPartitionKeys), ok("B")}},
		"null partition keys":   {first(`{"recordId":"0:7","result":"Ok","data":"","metadata":{"partitionKeys":null}}`), []firehose.Outcome{ok(""), ok("B")}},
		"null metadata":         {first(`{"recordId":"0:7","result":"Ok","data":"","metadata":null}`), []firehose.Outcome{ok(""), ok("B")}},
		"empty list":            {`{"records":[]}`, []firehose.Outcome{fail(firehose.ReasonMissing), fail(firehose.ReasonMissing)}},
		"unknown id":            {first(`{"recordId":"0:9","result":"Dropped"}`), nil},
		"another form of an id": {first(`{"recordId":"0:07","result":"Dropped"}`), nil},
		"no id":                 {first(`{"result":"Dropped"}`), nil},
		"no records":            {`{}`, nil},
		"records twice":         {`{"records":[],"records":[]}`, nil},
		"records null":          {`{"records":null}`, nil},
		"null":                  {`null`, nil},
		"empty":                 {``, nil},
		"not JSON":              {`{"records":[`, nil},
		"something behind":      {`{"records":[]} x`, nil},
		"element is no object":  {first(`7`), nil},
		"deep":                  {`{"x":` + strings.Repeat("[", 100_000) + `}`, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var d firehose.Decoder
			for range 2 { // a used decoder gives the same
				got, err := d.Decode([]byte(tc.answer), sent)
				if tc.want == nil {
					if tarn.CodeOf(err) != tarn.CodeInvalid {
						t.Fatalf("got %v, %v", got, err)
					}
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(tc.want, got); diff != "" {
					t.Fatal(diff)
				}
			}
		})
	}
}

// reference decodes with encoding/json and says for each record sent whether the answer for it can be used.
func reference(answer []byte, sent []firehose.Record) (map[string]string, bool) {
	var doc struct {
		Records []struct {
			RecordID, Result, Data string
		}
	}
	if json.Unmarshal(answer, &doc) != nil {
		return nil, false
	}
	out := map[string]string{}
	for _, r := range doc.Records {
		if data, err := base64.StdEncoding.DecodeString(r.Data); err == nil && r.Result == "Ok" {
			out[r.RecordID] = string(data)
		}
	}
	return out, true
}

func FuzzDecode(f *testing.F) {
	sent := []firehose.Record{{Position: tarn.Position{Offset: 7}}, {Position: tarn.Position{Shard: 2, Offset: 8}}}
	for _, seed := range []string{
		`{"records":[{"recordId":"0:7","result":"Ok","data":"QQ=="},{"recordId":"2:8","result":"Dropped"}]}`,
		`{"records":[{"recordId":"2:8","result":"Ok","data":"\/\/8=","metadata":{"partitionKeys":{"a":"b","c":1}}}]}`,
		`{"x":[1,-2.5e+3,true,false,null,"\u00fc\ud83d\ude00"],"records":[]}`, `{"records":null}`, `[]`, "", `{"records":[{}]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		var d firehose.Decoder
		got, err := d.Decode(answer, sent)
		if err != nil {
			return
		}
		if len(got) != len(sent) {
			t.Fatalf("%d outcomes for %d records", len(got), len(sent))
		}
		if !json.Valid(answer) {
			t.Fatalf("accepted what is not JSON: %q", answer)
		}
		want, comparable := reference(answer, sent)
		for i, o := range got {
			if comparable && o.Result == firehose.Ok && !strings.Contains(string(answer), "\\") {
				if data, ok := want[sent[i].Position.String()]; ok && data != string(o.Data) {
					t.Fatalf("record %d: got %q, encoding/json %q", i, o.Data, data)
				}
			}
			if (o.Reason == "") != (o.Result != firehose.Failed) {
				t.Fatalf("record %d: %+v", i, o)
			}
		}
	})
}

func BenchmarkCodec(b *testing.B) {
	records := someRecords(500, 500)
	h := firehose.Header{InvocationID: "i", Stream: "s"}
	answer := []byte(`{"records":[`)
	for i, r := range records {
		if i > 0 {
			answer = append(answer, ',')
		}
		answer = append(answer, `{"recordId":"`+r.Position.String()+`","result":"Ok","data":"`+base64.StdEncoding.EncodeToString(r.Data)+`"}`...)
	}
	answer = append(answer, `]}`...)
	b.Run("encode", func(b *testing.B) {
		var dst []byte
		for b.Loop() {
			dst = firehose.AppendEvent(dst[:0], h, records)
		}
		b.ReportMetric(float64(b.N*len(records))/b.Elapsed().Seconds(), "records/s")
	})
	b.Run("decode", func(b *testing.B) {
		var d firehose.Decoder
		for b.Loop() {
			if _, err := d.Decode(answer, records); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.N*len(records))/b.Elapsed().Seconds(), "records/s")
	})
}
