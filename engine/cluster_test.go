package engine_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/tarn-data/tarn/engine"
)

// natsServer runs a NATS server with JetStream, as an operator would, until the test ends.
func natsServer(t *testing.T) string {
	t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	go s.Start()
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the NATS server does not start")
	}
	t.Cleanup(s.Shutdown)
	return s.ClientURL()
}

// TestStreamsOutside keeps the streams in a NATS server and the lake in a folder of its own: an
// engine with an empty data folder goes on where another ended.
func TestStreamsOutside(t *testing.T) {
	url, shared := natsServer(t), t.TempDir()
	settings := fmt.Sprintf("%sengines:\n  stream: %s?replicas=1\n  lake: %s\n  metadata: %s\n", projectFile, url,
		filepath.Join(shared, "a lake"), filepath.Join(shared, "meta.db"))
	files := map[string]string{"tarn.yaml": settings, "pipelines/events.yaml": events}
	first := start(t, writeProject(t, files), t.TempDir())
	first.post("events", `{"id":1,"ts":"2026-11-20T03:00:00Z"}`)
	first.eventually("SELECT id FROM curated.events", "1")
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second := start(t, writeProject(t, files), t.TempDir())
	second.eventually("SELECT id FROM curated.events", "1")
	doc := second.post("events", `{"id":2,"ts":"2026-11-20T03:00:00Z"}`)
	if doc["first_position"] != "0:1" {
		t.Errorf("the second record is at %v", doc["first_position"])
	}
	second.eventually("SELECT count(*), sum(id) FROM curated.events", "2,3")
	if err := second.Flush(t.Context(), "events"); err != nil {
		t.Fatal(err)
	}
	second.verify()
	if entries, err := os.ReadDir(filepath.Join(shared, "a lake", "curated", "events")); err != nil || len(entries) < 2 {
		t.Errorf("the lake holds %v, %v", entries, err)
	}
}

func TestStreamsThatCannotBeOpened(t *testing.T) {
	for _, address := range []string{"nats://127.0.0.1:1?copies=2", "nats://127.0.0.1:1"} {
		e, err := engine.New(engine.Options{Project: writeProject(t, map[string]string{"tarn.yaml": projectFile + "engines: {stream: \"" + address + "\"}\n"}),
			Data: t.TempDir(), Listen: "127.0.0.1:0"})
		if err != nil {
			t.Fatal(err)
		}
		if err := e.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "engines.stream") {
			t.Errorf("%s: %v", address, err)
		}
	}
}
