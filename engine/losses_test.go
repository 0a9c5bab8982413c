package engine_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/tarn-data/tarn/engine"
)

// TestDamagedMarks: the lake starts without its marks, verify says that they were damaged until somebody
// has removed the damaged file, and no position is given twice.
func TestDamagedMarks(t *testing.T) {
	project, data := writeProject(t, map[string]string{"tarn.yaml": projectFile, "pipelines/events.yaml": events}), t.TempDir()
	l := start(t, project, data)
	l.post("events", `{"id":1,"ts":"2026-11-20T03:00:00Z"}`)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	marks, kept := filepath.Join(data, "meta", "marks.json"), filepath.Join(data, "meta", "marks.damaged.json")
	text, err := os.ReadFile(marks)
	if err != nil || !strings.Contains(string(text), `"next":1}`) {
		t.Fatalf("the end is not noted when the engine closes: %s %v", text, err)
	}
	if err := os.WriteFile(marks, text[:len(text)-5], 0o644); err != nil {
		t.Fatal(err)
	}
	l = start(t, project, data)
	if v, err := l.Verify(t.Context()); err != nil || v.OK || !strings.Contains(fmt.Sprint(v.Problems), "marks.damaged.json") {
		t.Errorf("%+v %v", v, err)
	}
	if err := os.Remove(kept); err != nil {
		t.Fatal(err)
	}
	l.verify()
	if doc := l.post("events", `{"id":2,"ts":"2026-11-20T03:00:00Z"}`); doc["first_position"] != "0:1" {
		t.Errorf("%v", doc)
	}
}

// TestStreamsGone: the folder of the streams is lost as a whole. Tables keep what they have, and positions
// go on behind it.
func TestStreamsGone(t *testing.T) {
	project, data := writeProject(t, map[string]string{"tarn.yaml": projectFile, "pipelines/events.yaml": events}), t.TempDir()
	l := start(t, project, data)
	l.post("events", strings.Repeat(`{"id":1,"ts":"2026-11-20T03:00:00Z"}`+"\n", 10))
	if err := l.Close(); err != nil { // commits what is pending
		t.Fatal(err)
	}
	for _, gone := range []string{"streams", "meta/marks.json"} { // what tables have committed is floor enough
		if err := os.RemoveAll(filepath.Join(data, gone)); err != nil {
			t.Fatal(err)
		}
	}
	l = start(t, project, data)
	if doc := l.post("events", `{"id":2,"ts":"2026-11-20T03:00:00Z"}`); doc["first_position"] != "0:10" {
		t.Errorf("%v", doc)
	}
	if err := l.Flush(t.Context(), "events"); err != nil {
		t.Fatal(err)
	}
	if got := l.sql("SELECT id, count(*) FROM curated.events GROUP BY id ORDER BY id"); got != "1,10\n2,1" {
		t.Error(got)
	}
	l.verify()
	if v, err := l.Verify(t.Context()); err != nil || !strings.Contains(fmt.Sprint(v.Notes), "0:0 to 0:9") {
		t.Errorf("%+v %v", v.Notes, err)
	}
}

// TestDowntimeIsKnown: an engine that starts twenty minutes after the last one, on a machine that ran on, does
// not take that for a clock that jumped.
func TestDowntimeIsKnown(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the boot is known on Linux only")
	}
	project, data := writeProject(t, map[string]string{"tarn.yaml": projectFile, "pipelines/events.yaml": events}), t.TempDir()
	run := func() string {
		var log bytes.Buffer
		e, err := engine.New(engine.Options{Project: project, Data: data, Listen: "127.0.0.1:0", Maintenance: -1, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(e.Start(t.Context()), e.Close()); err != nil {
			t.Fatal(err)
		}
		return log.String()
	}
	run()
	path := filepath.Join(data, "meta", "marks.json")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var doc map[string]json.RawMessage
	var at time.Time
	var up int64
	if err := errors.Join(json.Unmarshal(text, &doc), json.Unmarshal(doc["time"], &at), json.Unmarshal(doc["up"], &up)); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	rewind := func(clock, boot time.Duration) {
		t.Helper()
		doc["time"], _ = json.Marshal(at.Add(-clock))
		doc["up"], _ = json.Marshal(up - int64(boot/time.Second))
		text, err := json.Marshal(doc)
		if err == nil {
			err = os.WriteFile(path, text, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	rewind(20*time.Minute, 20*time.Minute)
	if log := run(); strings.Contains(log, "the clock is ahead") || !strings.Contains(log, "Tarn did not run for a while") {
		t.Errorf("twenty minutes later: %s", log)
	}
	rewind(20*time.Minute, 0)
	if log := run(); !strings.Contains(log, "the clock is ahead") {
		t.Errorf("the clock has jumped: %s", log)
	}
}
