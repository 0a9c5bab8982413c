package engine_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/metadb/metadbtest"
	"github.com/tarn-data/tarn/twin"
)

// hostile are texts that mean something to SQL, to file systems, to terminals or to numbers.
var hostile = []string{
	"' OR '1'='1", "'; DROP TABLE twin_values; --", `" OR 1=1 --`, "') OR (1=1", "' UNION SELECT * FROM system.failed_records --", "$1", "$2", "?", "%", "_", "*", `\`, `\'`, "/**/", "--",
	"a\x00b", "\x00", "\x01", "\x7f", "\xff\xfe", "\u2028", "\u202e", "\ufeff", "\ud7ff",
	"..", ".", "../../../etc/passwd", `..\..\boot.ini`, "%2e%2e%2f", "%00", "/", "//", "read_csv('/etc/passwd')", "file:///etc/passwd", "{}", "[]", "null", "true",
	"NaN", "Infinity", "-Infinity", "1e999", "-1", "0", "0x10", "9223372036854775808", "1' --", "2026-11-20T03:00:00Z' --", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "-9999-01-01T00:00:00Z",
	"1ns", "300000h", "9223372036s", "-5m", strings.Repeat("x", 1024), strings.Repeat("x", 1025), strings.Repeat("ü", 5000), strings.Repeat("..%2F", 500),
}

// TestTwinAttacks sends them in every place of the twin's interface that takes a text. Each is a name that nothing has, or is
// refused; none is an instruction, and none is an error of the server.
func TestTwinAttacks(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) { twinAttacks(t, projectFile, true) })
	t.Run("postgres", func(t *testing.T) {
		twinAttacks(t, projectFile+"engines: {metadata: \""+metadbtest.Postgres(t).Database(t)+"\"}\n", false)
	})
}

// twinAttacks attacks a twin, and with past its history, which lies in the lake whatever keeps the twin.
func twinAttacks(t *testing.T, settings string, past bool) {
	l := start(t, writeProject(t, map[string]string{"tarn.yaml": settings, "twins/fleet.yaml": "twin: fleet\nhistory: curated.fleet_history\n", "twins/bare.yaml": "twin: bare\n",
		"pipelines/history.yaml": "pipeline: history\nschema: {component: VARCHAR, metric: VARCHAR, value_number: DOUBLE, type: VARCHAR, at: TIMESTAMP}\ndeliver:\n  - table: curated.fleet_history\n"}), t.TempDir())
	tw, err := l.Twin("fleet")
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 11, 20, 3, 0, 0, 0, time.UTC)
	var updates []twin.Update
	for i := range 20 {
		updates = append(updates, twin.Update{Component: fmt.Sprint("wagon-", i), Type: "wagon", Metric: "speed", Value: twin.NumberValue(float64(i)), At: at, Position: twin.Position{Stream: "s", Position: tarn.Position{Offset: uint64(i)}}})
	}
	if _, err := tw.Apply(t.Context(), twin.Batch{Updates: updates}); err != nil {
		t.Fatal(err)
	}
	l.post("history", `{"component":"wagon-1","metric":"speed","value_number":1,"type":"wagon","at":"2026-11-20T03:00:00Z"}`)
	if err := l.Flush(t.Context(), "history"); err != nil {
		t.Fatal(err)
	}
	// get asks, and returns the components that came.
	get := func(method, path, body string) (status int, components int) {
		t.Helper()
		if !past && (strings.Contains(path, "at=") || strings.Contains(path, "/history")) {
			return http.StatusOK, 0
		}
		status, answer := l.do(method, path, "application/json", "", []byte(body))
		var doc struct {
			Components []any
			Values     []any
			Buckets    []any
			Code       string
		}
		if err := json.Unmarshal(answer, &doc); err != nil || status >= 500 || status != http.StatusOK && doc.Code == "" {
			t.Errorf("%s %.300q %.200q: %d %.300s", method, path, body, status, answer)
		}
		return status, len(doc.Components) + len(doc.Values) + len(doc.Buckets)
	}
	none := func(method, path, body string) {
		t.Helper()
		if status, n := get(method, path, body); status == http.StatusOK && n > 0 {
			t.Errorf("%s %.300q %.200q finds %d", method, path, body, n)
		}
	}
	const fleet = "/v1/twins/fleet"
	then := "at=2026-11-20T04:00:00Z"
	for _, h := range hostile {
		q, p := url.QueryEscape(h), strings.ReplaceAll(url.PathEscape(h), ".", "%2E")
		for _, param := range []string{"prefix", "type", "metric", "value"} {
			if param == "value" && (h == "0" || h == "-1" || h == "0x10") {
				continue // is a value that a wagon has, or none
			}
			none("GET", fleet+"/components?"+param+"="+q, "")
			none("GET", fleet+"/components?"+then+"&"+param+"="+q, "")
		}
		for _, param := range []string{"min", "max", "after", "older_than", "newer_than", "limit", "at"} {
			get("GET", fleet+"/components?"+param+"="+q, "")
			get("GET", fleet+"/components?"+then+"&"+param+"="+q, "")
		}
		get("GET", fleet+"/components?after="+base64.RawURLEncoding.EncodeToString([]byte(h)), "")
		get("GET", fleet+"/components?"+then+"&after="+base64.RawURLEncoding.EncodeToString([]byte(h)), "")
		for _, tail := range []string{"", "?" + then, "/metrics/speed", "/metrics/speed?" + then, "/metrics/speed/history", "/metrics/speed/history?step=1h"} {
			none("GET", fleet+"/components/"+p+tail, "")
		}
		for _, tail := range []string{"", "?" + then, "/history", "/history?step=1h"} {
			none("GET", fleet+"/components/wagon-1/metrics/"+p+tail, "")
		}
		get("GET", fleet+"/components/wagon-1/metrics/speed?at="+q, "")
		for _, param := range []string{"from", "to", "step", "limit"} {
			get("GET", fleet+"/components/wagon-1/metrics/speed/history?from=2026-11-20T00:00:00Z&to=2026-11-21T00:00:00Z&"+param+"="+q, "")
		}
		get("GET", fleet+"/changes?after=-1&prefix="+q, "")
		none("GET", "/v1/twins/"+p+"/components", "")
		get("DELETE", fleet+"/components/nothing/metrics/speed?at="+q, "")
		text, err := json.Marshal(h)
		if err != nil {
			t.Fatal(err)
		}
		for _, body := range []string{`{"keys":[{"component":%s,"metric":"speed"}]}`, `{"keys":[{"component":"wagon-1","metric":%s}]}`, `{"at":"2026-11-20T04:00:00Z","keys":[{"component":%s,"metric":"speed"}]}`} {
			none("POST", fleet+"/read", fmt.Sprintf(body, text))
		}
		get("POST", fleet+"/read", fmt.Sprintf(`{"at":%s,"keys":[{"component":"wagon-1","metric":"speed"}]}`, text))
		// What can be written is read again under that name, and nothing else.
		path := "/v1/twins/bare/components/" + p + "/metrics/m"
		if status, _ := get("PUT", path, fmt.Sprintf(`{"value":%s,"unit":"u"}`, text)); status == http.StatusOK && strings.ToValidUTF8(h, "") == h {
			var m struct{ Component, Value string }
			if _, answer := l.do("GET", path, "", "", nil); json.Unmarshal(answer, &m) != nil || m.Component != h || m.Value != h {
				t.Errorf("%q is read as %.300s", h, answer)
			}
			get("DELETE", path, "")
		}
		get("PUT", "/v1/twins/bare/components/c/metrics/m", fmt.Sprintf(`{"value":1,"at":%s}`, text))
		get("PUT", "/v1/twins/bare/components/c/metrics/m", fmt.Sprintf(`{"value":1,"unit":%s,"type":%s}`, text, text))
	}
	if got := l.sql("SELECT count(*), sum(value_number)::BIGINT FROM twin.fleet"); got != "20,190" {
		t.Errorf("the twin is not what it was: %s", got)
	}
	if got := l.sql("SELECT count(*) FROM curated.fleet_history"); got != "1" {
		t.Errorf("the history is not what it was: %s", got)
	}
}
