package engine_test

import (
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tarn-data/tarn/engine"
	"github.com/tarn-data/tarn/metadb"
)

// TestTakenFiles: the history of files is a table, their originals go by the rules of the zone raw, and
// the same bytes stay known, also for a pipeline that is not in the project any more.
func TestTakenFiles(t *testing.T) {
	const users = "pipeline: users\nsource: {files: {path: landing/users, settle: 100ms}}\ndeliver: [{table: curated.users}]\n"
	dir, data := writeProject(t, map[string]string{"tarn.yaml": projectFile, "pipelines/users.yaml": users, "pipelines/gone.yaml": "pipeline: gone\ndeliver: []\n"}), t.TempDir()
	open := func(maintenance time.Duration) *lake {
		e, err := engine.New(engine.Options{Project: dir, Data: data, Listen: "127.0.0.1:0", Maintenance: maintenance})
		if err != nil {
			t.Fatal(err)
		}
		if err := e.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = e.Close() })
		return &lake{Engine: e, t: t}
	}
	l := open(-1)
	run := func(l *lake, pipeline, content string) string {
		status, answer := l.do(http.MethodPost, "/v1/pipelines/"+pipeline+"/runs?name=u.csv", "text/csv", "", []byte(content))
		if status/100 != 2 && status != http.StatusUnprocessableEntity && status != http.StatusBadRequest {
			t.Fatalf("%d %s", status, answer)
		}
		return string(answer)
	}
	run(l, "users", "a,b\n1,2\n3,4\n5\n")
	run(l, "users", "a,b\n6,7\n")
	run(l, "gone", "a,b\n6,7\n")
	put(t, filepath.Join(data, "lake/landing/users/bad.parquet"), []byte("PAR1 and no more"))
	l.eventually("SELECT file, take, size, format, accepted, rejected, state, code, error IS NULL, finished_at >= taken_at, original LIKE '%/lake/raw/files/users/' || hash || '/' || file"+
		" FROM system.taken_files WHERE pipeline = 'users' ORDER BY taken_at",
		"u.csv,0,14,csv,2,1,done,,true,true,true\nu.csv,0,8,csv,1,0,done,,true,true,true\nbad.parquet,0,16,parquet,0,0,failed,invalid,false,true,true")
	if err := os.Remove(filepath.Join(dir, "pipelines/gone.yaml")); err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(dir, "tarn.yaml"), []byte(projectFile+"zones: {raw: {expire_after: 1h, keep_versions: 1}}\n"))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := metadb.Open(t.Context(), filepath.Join(data, "meta/tarn.db"), metadb.Options{})
	if err != nil {
		t.Fatal(err)
	}
	// An hour passes for the one of the pipeline that is gone.
	if _, err := db.Exec(t.Context(), "UPDATE taken_files SET taken_at = taken_at - ? WHERE pipeline = 'gone'", time.Hour.Microseconds()); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}

	l = open(20 * time.Millisecond)
	l.eventually("SELECT pipeline, file, size FROM system.taken_files WHERE original IS NULL ORDER BY pipeline", "gone,u.csv,8\nusers,u.csv,14")
	var left []string
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		left = nil
		_ = filepath.WalkDir(filepath.Join(data, "lake/raw/files"), func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				left = append(left, filepath.Base(path))
			}
			return nil
		})
		if len(left) == 2 || time.Now().After(deadline) {
			break
		}
	}
	if strings.Join(left, " ") != "bad.parquet u.csv" && strings.Join(left, " ") != "u.csv bad.parquet" {
		t.Errorf("left: %v", left)
	}
	if got := run(l, "users", "a,b\n1,2\n3,4\n5\n"); !strings.Contains(got, `"duplicate":true`) {
		t.Errorf("dropped again: %s", got)
	}
	if got := l.sql("SELECT count(*) FROM curated.users"); got != "3" {
		t.Errorf("%s rows", got)
	}
}
