package schedule_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/function/schedule"
)

func TestAppend(t *testing.T) {
	slot := time.Date(2026, 11, 20, 4, 5, 0, 0, time.FixedZone("", 3600))
	for name, tc := range map[string]struct{ detail, want string }{
		"no detail":  {"", "{}"},
		"detail":     {`{"since":7}`, `{"since":7}`},
		"bad detail": {`{`, "{}"},
	} {
		t.Run(name, func(t *testing.T) {
			b := schedule.Event{ID: "run-7", Pipeline: "weather", Slot: slot, Detail: []byte(tc.detail)}.Append([]byte("x"))[1:]
			var got map[string]any
			if err := json.Unmarshal(b, &got); err != nil {
				t.Fatal(err)
			}
			var detail any
			if err := json.Unmarshal([]byte(tc.want), &detail); err != nil {
				t.Fatal(err)
			}
			want := map[string]any{
				"version": "0", "id": "run-7", "detail-type": "Scheduled Event", "source": "aws.events", "account": "000000000000",
				"time": "2026-11-20T03:05:00Z", "region": "us-east-1", "detail": detail,
				"resources": []any{"arn:aws:events:us-east-1:000000000000:rule/weather"},
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatal(diff)
			}
		})
	}
}

func TestRecords(t *testing.T) {
	for answer, want := range map[string][]string{
		`[{"a":1},{"a": 2}]`:                 {`{"a":1}`, `{"a": 2}`},
		` {"records":[ "x\ny" , 7 , null ]}`: {"x\ny", "7", "null"},
		`{"records":[]}`:                     {},
		`{"records":null}`:                   {},
		`{"other":1}`:                        nil,
		`[]`:                                 {},
		`null`:                               {},
		`[[1,2]]`:                            {`[1,2]`},
	} {
		got, err := schedule.Records([]byte(answer))
		if err != nil {
			t.Errorf("%s: %v", answer, err)
			continue
		}
		if len(got) != len(want) {
			t.Errorf("%s: %q", answer, got)
			continue
		}
		for i := range got {
			if string(got[i]) != want[i] {
				t.Errorf("%s: record %d is %q, want %q", answer, i, got[i], want[i])
			}
		}
	}
	for _, answer := range []string{``, `7`, `"x"`, `{"records":{}}`, `[1`, `{"records":7}`, `true`} {
		if got, err := schedule.Records([]byte(answer)); tarn.CodeOf(err) != tarn.CodeInvalid {
			t.Errorf("%s: %q, %v", answer, got, err)
		}
	}
}

func TestState(t *testing.T) {
	for answer, want := range map[string]string{
		`{"records":[],"state":{"since": 7}}`: `{"since": 7}`, ` {"state":"x"}`: `"x"`, `{"state":null}`: "null",
		`{"records":[]}`: "", `[1]`: "", `null`: "", ``: "", `{`: "",
	} {
		if got := string(schedule.State([]byte(answer))); got != want {
			t.Errorf("%s: %q, want %q", answer, got, want)
		}
	}
}

func FuzzRecords(f *testing.F) {
	for _, seed := range []string{`[{"a":1},"x"]`, `{"records":["x\u00fc",7,null,[]]}`, `null`, `{}`, `[`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		records, err := schedule.Records(answer)
		if err == nil && !json.Valid(answer) {
			t.Fatalf("accepted what is not JSON: %q gives %q", answer, records)
		}
	})
}
