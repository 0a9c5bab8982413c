package delivery_test

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tarn-data/tarn/delivery"
	"github.com/tarn-data/tarn/function"
)

func TestMain(m *testing.M) {
	function.Child()
	_ = flag.Set("rapid.checks", "12") // each takes fsyncs; the command line overrides it
	os.Exit(m.Run())
}

// enrich is a transformation as it is written for Amazon Data Firehose.
const enrich = `
import base64, json, time

def handler(event, context):
    output = []
    for record in event['records']:
        payload = json.loads(base64.b64decode(record['data']))
        result = 'Ok'
        if payload['id'] % 10 == 3:
            result = 'Dropped'
        if payload['id'] % 10 == 4:
            result = 'ProcessingFailed'
        if payload.get('poison'):
            raise ValueError('cannot bear record %d' % payload['id'])
        if payload.get('slow'):
            time.sleep(60)
        if payload.get('crash'):
            import os; os._exit(3)
        payload['double'] = payload['id'] * 2
        data = (json.dumps(payload) + '\n').encode()
        if payload.get('two'):
            data += data
        output.append({'recordId': record['recordId'], 'result': result,
                       'data': base64.b64encode(data).decode('utf-8')})
    return {'records': output}
`

// python returns a function of Python code with a handler named handler.
func (w *world) python(code string, timeout time.Duration) delivery.Function {
	w.t.Helper()
	if _, err := exec.LookPath("python3"); err != nil {
		w.t.Skip("python3 is not installed")
	}
	dir := w.t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "app.py"), []byte(code), 0o644); err != nil {
		w.t.Fatal(err)
	}
	h := function.NewHost(function.Options{WorkDir: w.t.TempDir(),
		Spec: function.Spec{Name: "enrich", Dir: dir, Runtime: "python", Handler: "app.handler", Timeout: timeout, Concurrency: 2}})
	w.t.Cleanup(func() { _ = h.Close() })
	if err := h.Start(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	return delivery.Function{Name: "enrich", Host: h, Concurrency: 2, Wait: 5 * time.Millisecond, Retries: 1}
}

// TestFunction: every record goes through the function once it counts, in the order of the records,
// whatever becomes of it.
func TestFunction(t *testing.T) {
	const n = 5000
	w := newWorld(t, 2)
	cfg := w.config()
	cfg.Functions = []delivery.Function{w.python(enrich, time.Minute)}
	cfg.Transform = rowByRow(sqlSteps("SELECT *, double + 1 AS odd FROM records"))
	r := w.run(cfg)
	for at := 0; at < n; at += 100 {
		w.put(at/100%2, events(100, fmt.Sprintf(`{"id":%d%%02d,"name":"x"}`, at/100+1))...)
	}
	w.flush(r)
	w.want(r, "SELECT count(*), count(DISTINCT id), sum(odd - 2 * id), count(*) FILTER (id % 10 IN (3, 4)) FROM t", fmt.Sprintf("%d %d %d 0", n*8/10, n*8/10, n*8/10))
	w.balance(0, n/2, n/2*8/10, n/20, n/20)
	w.balance(1, n/2, n/2*8/10, n/20, n/20)
	for _, f := range w.failed() {
		if f.Stage != "function" || f.Reason != "the function answered ProcessingFailed" || !strings.Contains(string(f.Record), `4,"name":"x"}`) || strings.Contains(string(f.Record), "double") {
			t.Fatalf("%+v %s", f, f.Record)
		}
	}
}

// TestPartitionKeys: the partition keys that a function gives a record are columns of its row, unless
// the record has such a member itself.
func TestPartitionKeys(t *testing.T) {
	const code = `
import base64, json

def handler(event, context):
    output = []
    for r in event['records']:
        data = json.loads(base64.b64decode(r['data']))
        keys = {'parity': data['id'] % 2, 'na"me': 'quoted', 'id': 'never'} if data['id'] < 3 else {}
        output.append({'recordId': r['recordId'], 'result': 'Ok', 'metadata': {'partitionKeys': keys},
                       'data': base64.b64encode(b' {} ' if data['id'] == 4 else (json.dumps(data) + '\n').encode()).decode()})
    return {'records': output}
`
	w := newWorld(t, 1)
	cfg := w.config()
	cfg.Functions = []delivery.Function{w.python(code, time.Minute)}
	r := w.run(cfg)
	w.put(0, events(5, `{"id":%d}`)...)
	w.flush(r)
	w.want(r, `SELECT id, parity, "na""me" FROM t WHERE id IS NOT NULL`, "0 0 quoted", "1 1 quoted", "2 0 quoted", "3 <nil> <nil>")
}

// TestFunctionFails: what the code cannot bear fails alone, with the reason and the accepted bytes.
func TestFunctionFails(t *testing.T) {
	tests := []struct {
		name, bad string
		failed    int // of 20 records
		reason    string
	}{
		{"raises", `{"id":7,"poison":true}`, 1, "answered with an error: ValueError: cannot bear record 7"},
		{"dies", `{"id":7,"crash":true}`, 1, "ended during an invocation: exit status 3"},
		{"hangs", `{"id":7,"slow":true}`, 20, "did not answer in time"},
		{"two rows for one record", `{"id":7,"two":true}`, 1, "is not one JSON object"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, 1)
			cfg := w.config()
			f := w.python(enrich, 2*time.Second)
			f.Retries = 0
			cfg.Functions = []delivery.Function{f}
			r := w.run(cfg)
			lines := append(events(19, `{"id":10%02d0}`), tt.bad)
			w.put(0, lines...)
			w.flush(r)
			w.put(0, `{"id":5}`) // the shard goes on
			w.flush(r)
			w.want(r, "SELECT count(*), max(double) IS NOT NULL FROM t WHERE id <> 7", fmt.Sprintf("%d true", 21-tt.failed))
			w.balance(0, 21, uint64(21-tt.failed), uint64(tt.failed), 0)
			for _, f := range w.failed() {
				if f.Stage != "function" || !strings.Contains(f.Reason, tt.reason) || string(f.Record) != lines[f.Offset] {
					t.Errorf("%d: %s: %s: %s", f.Offset, f.Stage, f.Reason, f.Record)
				}
			}
		})
	}
}

// TestFunctionDoesNotStart: records wait for a function that cannot be loaded, and the status says so.
func TestFunctionDoesNotStart(t *testing.T) {
	w := newWorld(t, 1)
	cfg := w.config()
	cfg.Functions = []delivery.Function{w.python("import nothing_of_that_name\n", time.Second)}
	r := w.run(cfg)
	w.put(0, `{"id":1}`)
	for end := time.Now().Add(15 * time.Second); r.Status().Error == ""; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%+v", r.Status())
		}
	}
	if s := r.Status().Error; !strings.Contains(s, "function enrich does not start") || !strings.Contains(s, "tarn functions logs enrich") {
		t.Error(s)
	}
}

// TestRoutes: a delivery takes what is routed to it, and counts the rest as dropped.
func TestRoutes(t *testing.T) {
	for _, name := range []string{"plain", "function"} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 1)
			cfg := w.config()
			if name == "function" {
				cfg.Functions = []delivery.Function{w.python(enrich, time.Minute)}
			}
			r := w.run(cfg)
			w.putRouted(nil, `{"id":1}`)
			w.putRouted([]string{tableName, "other"}, `{"id":2}`)
			w.putRouted([]string{"other"}, `{"id":5}`, `{"id":6}`)
			w.putRouted([]string{}, `{"id":7}`)
			w.flush(r)
			w.want(r, "SELECT id FROM t", "1", "2")
			w.balance(0, 5, 2, 0, 3)
		})
	}
}
