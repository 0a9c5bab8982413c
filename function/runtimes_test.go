package function_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/function"
	"github.com/tarn-data/tarn/function/firehose"
)

// goHandlers are the functions of the Go bootstrap: this test binary under the name bootstrap.
var goHandlers = map[string]any{
	"transform": func(_ context.Context, e events.KinesisFirehoseEvent) (out events.KinesisFirehoseResponse, err error) {
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
				RecordID: r.RecordID, Result: events.KinesisFirehoseTransformedStateOk, Data: data,
				Metadata: events.KinesisFirehoseResponseRecordMetadata{PartitionKeys: map[string]string{"device": fmt.Sprint(payload["device"])}},
			})
		}
		return out, nil
	},
	"echo": func(_ context.Context, e json.RawMessage) (json.RawMessage, error) { return e, nil },
	"about": func(ctx context.Context) (map[string]any, error) {
		lc, _ := lambdacontext.FromContext(ctx)
		deadline, _ := ctx.Deadline()
		return map[string]any{"request": lc.AwsRequestID, "remaining": time.Until(deadline).Milliseconds(), "name": lambdacontext.FunctionName, "memory": lambdacontext.MemoryLimitInMB}, nil
	},
	"fail":  func() error { return errors.New("no such wagon") },
	"panic": func() error { panic("something is nil") },
	// A reader as answer makes aws-lambda-go stream it; here it breaks in the middle.
	"stream": func() (*events.LambdaFunctionURLStreamingResponse, error) {
		return &events.LambdaFunctionURLStreamingResponse{Body: &breaking{text: []byte("first half")}}, nil
	},
}

// breaking is a reader that fails after its text.
type breaking struct{ text []byte }

func (b *breaking) Read(p []byte) (int, error) {
	if len(b.text) == 0 {
		return 0, errors.New("the source dried up")
	}
	n := copy(p, b.text)
	b.text = b.text[n:]
	return n, nil
}

// runBootstrap makes this test binary a Lambda function when a worker starts it as one.
func runBootstrap() {
	if os.Getenv("AWS_LAMBDA_RUNTIME_API") == "" {
		return
	}
	if handler, ok := goHandlers[os.Getenv("_HANDLER")]; ok {
		lambda.Start(handler)
	}
	rawClient()
}

// goCode returns a code folder with a Go bootstrap.
func goCode(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	copyFile(t, "/proc/self/exe", filepath.Join(dir, "bootstrap"))
	for d := dir; d != filepath.Dir(os.TempDir()) && d != "/"; d = filepath.Dir(d) {
		_ = os.Chmod(d, 0o755)
		if d == os.TempDir() {
			break
		}
	}
	return dir
}

func goSpec(t testing.TB, handler string) function.Spec {
	return function.Spec{Runtime: function.RuntimeProvided, Dir: goCode(t), Handler: handler}
}

func TestFirehoseTransformation(t *testing.T) {
	records := make([]firehose.Record, 40)
	for i := range records {
		records[i] = firehose.Record{Position: tarn.Position{Shard: 1, Offset: uint64(i)}, Arrival: time.Now(), Data: fmt.Appendf(nil, `{"device":"w-%d","text":"ü"}`, i)}
	}
	event := firehose.AppendEvent(nil, firehose.Header{InvocationID: "i", Stream: "s"}, records)
	for _, tc := range []struct {
		name string
		spec func(t testing.TB) function.Spec
	}{
		{"python", func(testing.TB) function.Spec { return python("app.handler") }},
		{"node", func(testing.TB) function.Spec { return node("app.handler") }},
		{"provided", func(t testing.TB) function.Spec { return goSpec(t, "transform") }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := start(t, function.Options{Spec: tc.spec(t)})
			answer, err := p.Invoke(t.Context(), function.Invocation{Payload: event})
			if err != nil {
				t.Fatal(err)
			}
			var d firehose.Decoder
			outcomes, err := d.Decode(answer, records)
			if err != nil {
				t.Fatal(err)
			}
			for i, o := range outcomes {
				var got struct {
					Device, Text string
					Enriched     bool
				}
				if err := json.Unmarshal(o.Data, &got); err != nil || o.Result != firehose.Ok || got.Device != fmt.Sprintf("w-%d", i) || !got.Enriched || got.Text != "ü" {
					t.Fatalf("record %d: %+v, %v", i, o, err)
				}
				if tc.name != "node" && (len(o.PartitionKeys) != 1 || o.PartitionKeys[0].Value != got.Device) {
					t.Fatalf("record %d: %+v", i, o)
				}
			}
		})
	}
}

func node(handler string) function.Spec {
	return function.Spec{Runtime: function.RuntimeNode, Handler: handler}
}

func TestHandlers(t *testing.T) {
	for _, tc := range []struct {
		spec  func(t testing.TB) function.Spec
		event string
		want  string // the answer, or "TYPE: MESSAGE" of its error
	}{
		{py("app.later"), `{"n":1}`, `{"later":{"n":1}}`},
		{py("app.echo"), `"ü€😀"`, `"\u00fc\u20ac\ud83d\ude00"`},
		{js("app.echo"), `"ü€😀"`, `"ü€😀"`},
		{js("app.callback"), `{"n":1}`, `{"called":1}`},
		{js("app.succeed"), `{}`, `"old style"`},
		{js("app.plain"), `{"n":1}`, `{"plain":1}`},
		{js("app.plain2"), `{}`, `{"plain":"tested"}`},
		{js("app.forgets"), `{}`, `null`},
		{js("app.nothing"), `{}`, `null`},
		{js("app.raise"), `{}`, `RangeError: too far`},
		{js("app.fail"), `{}`, `TypeError: called back with an error`},
		{js("app.text"), `{}`, `string: only text`},
		{js("app.circle"), `{}`, "TypeError: Converting circular structure to JSON\n    --> starting at object with constructor 'Object'\n    |     property 'records' -> object with constructor 'Array'\n    --- index 299 closes the circle"},
		{js("module.handler"), `{"n":1}`, `{"module":{"n":1}}`},
		{js("module.inside"), `{"n":1}`, `{"default":{"n":1}}`},
		{goes("echo"), `{"n":1}`, `{"n":1}`},
		{goes("fail"), `{}`, `errorString: no such wagon`},
		{goes("stream"), `{}`, `errorString: the source dried up`},
	} {
		spec := tc.spec(t)
		t.Run(spec.Runtime+" "+spec.Handler, func(t *testing.T) {
			p := start(t, function.Options{Spec: spec})
			for range 2 {
				got, err := invoke(t, p, tc.event)
				var f *function.FunctionError
				if errors.As(err, &f) {
					got, err = f.Error(), nil
				}
				if err != nil || got != tc.want {
					t.Fatalf("got %s, %v, want %s", got, err, tc.want)
				}
			}
		})
	}
}

// TestNodeAnswers compares answers with what JSON.stringify makes of the same value.
func TestNodeAnswers(t *testing.T) {
	p, text := start(t, function.Options{Spec: node("app.shape")}), start(t, function.Options{Spec: node("app.shapeAsText")})
	answer := func(p *function.Pool, event string) string {
		got, err := invoke(t, p, event)
		var f *function.FunctionError
		if errors.As(err, &f) {
			return f.Error()
		} else if err != nil {
			t.Fatal(event, err)
		}
		return got
	}
	check := func(event string) {
		want := answer(text, event)
		_ = json.Unmarshal([]byte(want), &want) // the text of a text; anything else is an error or null
		if got := answer(p, event); got != want {
			t.Errorf("%s: got %.200s, want %.200s", event, got, want)
		}
	}
	for _, shape := range []string{
		"short", "long", "groups", "odd", "holes", "own", "top", "wide", "nothing", "nested", "map", "elementKeys",
		"memberKeys", "innerKeys", "getter", "boxed", "boxedTop", "proxy", "proxyTop", "notAList", "subclass", "ownMethods",
		"shadowed", "proto", "hidden", "members", "bigint", "innerBigint",
	} {
		check(fmt.Sprintf(`{"shape":%q}`, shape))
	}
	for _, change := range []string{"bigints", "lists", "objects"} {
		check(fmt.Sprintf(`{"shape":"bigint","change":%q}`, change))
		check(`{"shape":"innerBigint"}`)
		check(`{"shape":"groups"}`)
	}
	// Cut short to the room that the first buffer has, it has as many bytes as characters.
	full := `"x` + strings.Repeat("é", 65536-4096-3) + `"`
	if got := must(t, start(t, function.Options{Spec: node("app.echo")}), full); got != full {
		t.Errorf("%d bytes of %d", len(got), len(full))
	}
}

// TestNodeHeap: Node's heap ends below the memory of the function, so that its own error comes first.
func TestNodeHeap(t *testing.T) {
	for _, memory := range []int64{128, 300, 512, 1024} {
		spec := node("app.heapLimit")
		spec.MemoryBytes = memory << 20
		limit, err := strconv.ParseInt(must(t, start(t, function.Options{Spec: spec}), "{}"), 10, 64)
		if err != nil || limit > memory<<20*7/8 || limit < memory<<20*3/4 {
			t.Errorf("%d MiB: %d, %v", memory, limit>>20, err)
		}
	}
}

func py(handler string) func(testing.TB) function.Spec {
	return func(testing.TB) function.Spec { return python(handler) }
}

func js(handler string) func(testing.TB) function.Spec {
	return func(testing.TB) function.Spec { return node(handler) }
}

func goes(handler string) func(testing.TB) function.Spec {
	return func(t testing.TB) function.Spec { return goSpec(t, handler) }
}

func TestNodeInitErrors(t *testing.T) {
	for handler, want := range map[string]string{
		"absent.handler": "Runtime.ImportModuleError",
		"app.absent":     "Runtime.HandlerNotFound",
		"broken.handler": "Error: Cannot find module",
	} {
		p := prepare(t, function.Options{Spec: node(handler)})
		if err := p.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		var e *function.InitError
		if err := p.Ready(t.Context()); !errors.As(err, &e) || !strings.Contains(e.Error(), want) || len(e.Stack) == 0 {
			t.Errorf("%s: %v", handler, err)
		}
	}
}

func TestProcessDiesInHandler(t *testing.T) {
	for name, spec := range map[string]function.Spec{"node": node("app.crash"), "go": goSpec(t, "panic")} {
		p := start(t, function.Options{Spec: spec})
		_, err := invoke(t, p, `{}`)
		var (
			exit *function.ExitError
			f    *function.FunctionError
		)
		// aws-lambda-go reports the panic before it exits; Node just dies.
		if !errors.As(err, &exit) && !errors.As(err, &f) {
			t.Errorf("%s: %v", name, err)
		}
		if exit != nil && !bytes.Contains([]byte(strings.Join(exit.Stderr, "\n")), []byte("nobody catches this")) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestGoContext(t *testing.T) {
	p := start(t, function.Options{Spec: goSpec(t, "about")})
	out, err := p.Invoke(t.Context(), function.Invocation{Payload: []byte(`{}`), RequestID: "r-1"})
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Request, Name     string
		Remaining, Memory int
	}
	if err := json.Unmarshal(out, &got); err != nil || got.Request != "r-1" || got.Name != "tested" || got.Memory != 512 || got.Remaining < 50_000 {
		t.Errorf("%s, %v", out, err)
	}
}
