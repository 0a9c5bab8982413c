package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tarn-data/tarn/engine"
	"github.com/tarn-data/tarn/twin"
)

// lockedText is output that is read while it is written.
type lockedText struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// TestTwinCommands runs the commands against a running lake.
func TestTwinCommands(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"tarn.yaml": "version: 1\nname: test\n", "twins/fleet.yaml": "twin: fleet\nexpire_after: 1h\n"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	e, err := engine.New(engine.Options{Project: dir, Listen: "127.0.0.1:0", Maintenance: -1})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	tw, err := e.Twin("fleet")
	if err != nil {
		t.Fatal(err)
	}
	apply := func(component, metric string, v twin.Value) {
		t.Helper()
		if _, err := tw.Apply(t.Context(), twin.Batch{Updates: []twin.Update{{Component: component, Type: "wagon", Metric: metric, Value: v, Unit: "km/h", At: time.Now(), Source: "test"}}}); err != nil {
			t.Fatal(err)
		}
	}
	apply("wagon/7", "speed", twin.NumberValue(83.5))
	apply("..", "name", twin.StringValue("dots"))
	run := func(ctx context.Context, args ...string) (*lockedText, error) {
		var out lockedText
		a := &app{in: strings.NewReader(""), out: &out, errOut: &out}
		c := a.root()
		c.SetArgs(append(args, "--server", e.Address()))
		return &out, c.ExecuteContext(ctx)
	}
	for _, c := range []struct {
		args string
		want string
	}{
		{"twin ls", "fleet"}, {"twin ls", "1h"}, {"twin ls fleet", "wagon/7"}, {"twin ls fleet --metric speed --min 80", "83.5"}, {"twin ls fleet --limit 1", "--limit 0 lists all"},
		{"twin ls fleet --min 90", "no components"}, {"twin get fleet wagon/7", "km/h"}, {"twin get fleet wagon/7 speed", "83.5\n"}, {"twin get fleet .. name", "dots\n"},
		{"twin get fleet wagon/7 speed --json", `"source": "test"`}, {"twin ls fleet --json", `"components": [`},
	} {
		out, err := run(t.Context(), strings.Fields(c.args)...)
		if err != nil || !strings.Contains(out.String(), c.want) {
			t.Errorf("%s: %v\n%s", c.args, err, out)
		}
	}
	for _, args := range []string{"twin get fleet wagon/7 load", "twin get none x", "twin ls fleet --older-than soon", "twin get fleet wagon/7 speed --at 2026-11-20T03:00:00Z"} {
		if out, err := run(t.Context(), strings.Fields(args)...); err == nil {
			t.Errorf("%s: %s", args, out)
		}
	}

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var out lockedText
	done := make(chan error, 1)
	a := &app{in: strings.NewReader(""), out: &out, errOut: &out}
	c := a.root()
	c.SetArgs([]string{"twin", "watch", "fleet", "--prefix", "wagon", "--server", e.Address(), "--after", "1"})
	go func() { done <- c.ExecuteContext(ctx) }()
	deadline := time.Now().Add(20 * time.Second)
	for n := 0; !strings.Contains(out.String(), "wagon/7  speed  1"); n++ {
		if time.Now().After(deadline) {
			t.Fatal(out.String())
		}
		apply("wagon/7", "speed", twin.NumberValue(100+float64(n)))
		apply("gate", "speed", twin.NumberValue(1))
		time.Sleep(10 * time.Millisecond)
	}
	stop()
	if err := <-done; err != nil || strings.Contains(out.String(), "gate") {
		t.Errorf("%v\n%s", err, out.String())
	}
}
