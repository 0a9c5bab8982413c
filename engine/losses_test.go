package engine_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
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
