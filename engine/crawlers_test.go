package engine_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tarn-data/tarn/engine"
	"github.com/tarn-data/tarn/project"
)

// put writes a file that has been whole for an hour; each write gets another time.
func put(t *testing.T, name string, content []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, content, 0o644); err != nil {
		t.Fatal(err)
	}
	at := time.Now().Add(-time.Hour + time.Since(startedAt))
	if err := os.Chtimes(name, at, at); err != nil {
		t.Fatal(err)
	}
}

var startedAt = time.Now()

// parquet returns the result of a query as a Parquet file.
func (l *lake) parquet(query string) []byte {
	l.t.Helper()
	body, _ := json.Marshal(map[string]string{"sql": query})
	status, answer := l.do(http.MethodPost, "/v1/sql", "application/json", "application/vnd.apache.parquet", body)
	if status != http.StatusOK {
		l.t.Fatalf("%d %s", status, answer)
	}
	return answer
}

func (l *lake) crawl(request string) (int, string) {
	l.t.Helper()
	status, answer := l.do(http.MethodPost, "/v1/crawls", "application/json", "", []byte(request))
	return status, string(answer)
}

// ask returns the status and the whole answer of a statement.
func (l *lake) ask(query string) (int, string) {
	l.t.Helper()
	body, _ := json.Marshal(map[string]string{"sql": query})
	status, answer := l.do(http.MethodPost, "/v1/sql", "application/json", "text/csv", body)
	return status, string(answer)
}

func TestCrawler(t *testing.T) {
	outside := t.TempDir()
	put(t, filepath.Join(outside, "t", "year=2025", "a.csv"), []byte("id,name\n1,a\n"))
	put(t, filepath.Join(outside, "t", "year=2026", "b.csv"), []byte("id,name\n2,b\n"))
	put(t, filepath.Join(outside, "secret.csv"), []byte("id,name\n0,secret\n"))
	dir := writeProject(t, map[string]string{"tarn.yaml": projectFile,
		"crawlers/t.yaml": "crawler: t\npath: " + filepath.Join(outside, "t") + "\nevery: 1s\non_delete: drop\nzone: cleaned\n"})
	l := start(t, dir, t.TempDir())
	l.eventually("SELECT * FROM cleaned.t ORDER BY id", "1,a,2025\n2,b,2026")

	// Files are pruned by their partitions.
	if got := l.sql("SELECT id FROM cleaned.t WHERE year >= 2026"); got != "2" {
		t.Error(got)
	}
	if got := l.sql("SELECT files_total, files_opened FROM system.query_log WHERE sql LIKE '%>= 2026' ORDER BY started_at DESC LIMIT 1"); got != "2,1" {
		t.Errorf("files: %s, want 2,1", got)
	}

	// New files come by themselves, of another format and with more columns; a version back is there.
	put(t, filepath.Join(outside, "t", "year=2026", "c.parquet"), l.parquet("SELECT 3::INTEGER AS id, 'c' AS name, 1.5::DOUBLE AS more"))
	l.eventually("SELECT * FROM cleaned.t ORDER BY id", "1,a,2025,\n2,b,2026,\n3,c,2026,1.5")
	if got := l.sql("SELECT * FROM cleaned.t AT (VERSION => 1) ORDER BY id"); got != "1,a,2025\n2,b,2026" {
		t.Error(got)
	}
	if status, answer := l.ask("SELECT * FROM cleaned.t AT (TIMESTAMP => TIMESTAMP '2026-01-01 00:00:00')"); status != http.StatusUnsupportedMediaType && !strings.Contains(answer, "AT (VERSION => n)") {
		t.Errorf("%d %s", status, answer)
	}
	// What is written anew is read anew, whatever DuckDB remembers of the file.
	put(t, filepath.Join(outside, "t", "year=2026", "c.parquet"), l.parquet("SELECT 4::INTEGER AS id, 'd' AS name, 2.5::DOUBLE AS more"))
	l.eventually("SELECT id, more FROM cleaned.t WHERE id > 2", "4,2.5")

	// It is a table like the others.
	if got := l.sql("SELECT kind, files FROM system.tables WHERE name = 'cleaned.t'"); got != "external,3" {
		t.Error(got)
	}
	if got := l.sql("SELECT count(*), max(version) FROM system.schema_versions"); got != "2,2" {
		t.Error(got)
	}
	doc, err := l.Table(t.Context(), "cleaned.t")
	if err != nil || doc.External == nil || doc.External.SchemaVersion != 2 || len(doc.Columns) != 4 {
		t.Errorf("%+v %v", doc, err)
	}
	if all, err := l.Crawlers(t.Context()); err != nil || len(all) != 1 || all[0].FileCount != 3 || all[0].When != "every 1s" || all[0].NextRun == nil {
		t.Errorf("%+v %v", all, err)
	}

	// The last file goes, and the table with it.
	if err := os.RemoveAll(filepath.Join(outside, "t", "year=2025")); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(outside, "t", "year=2026")); err != nil {
		t.Fatal(err)
	}
	l.eventually("SELECT count(*) FROM system.tables", "0")
}

// TestCrawlReachesNothingElse: SQL and requests get at the folders that are declared, and no others.
func TestCrawlReachesNothingElse(t *testing.T) {
	outside := t.TempDir()
	put(t, filepath.Join(outside, "secret.csv"), []byte("id,name\n0,secret\n"))
	dir := writeProject(t, map[string]string{"tarn.yaml": projectFile})
	put(t, filepath.Join(dir, "exports", "a.csv"), []byte("id,name\n1,a\n"))
	if err := os.Symlink(outside, filepath.Join(dir, "exports", "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(dir, "way_out")); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(dir, ".tarn")
	l := start(t, dir, data)
	put(t, filepath.Join(data, "lake", "raw", "old", "a.csv"), []byte("k,v,w\n1,2,3\n"))

	for request, want := range map[string]int{
		`{"path": "exports"}`: 200, `{"path": "raw/old"}`: 200, `{"path": "` + outside + `"}`: 403, `{"path": "way_out"}`: 403, `{"path": "../"}`: 403, `{"path": "."}`: 200,
		`{"path": ".tarn/meta"}`: 403, `{"path": ".tarn"}`: 403, `{"path": ".tarn/lake/curated"}`: 404, `{"path": "nowhere"}`: 404, `{}`: 400, `{"crawler": "none"}`: 404,
	} {
		if status, answer := l.crawl(request); status != want {
			t.Errorf("%s: %d, want %d: %s", request, status, want, answer)
		}
	}
	if got := l.sql("SELECT * FROM raw.exports"); got != "1,a" {
		t.Error(got)
	}
	if got := l.sql("SELECT * FROM raw.old"); got != "1,2,3" {
		t.Error(got)
	}
	for _, file := range []string{filepath.Join(outside, "secret.csv"), filepath.Join(dir, "exports", "a.csv"), filepath.Join(data, "meta", "tarn.db")} {
		for _, query := range []string{"SELECT * FROM '" + file + "'", "SELECT * FROM read_csv('" + file + "')", "SELECT * FROM raw.exports, read_text('" + file + "')"} {
			if status, answer := l.ask(query); status == http.StatusOK || strings.Contains(answer, "secret,") {
				t.Errorf("%s: %d %s", query, status, answer)
			}
		}
	}
}

// TestCrawlFromTheCommandLine: what another process registers, a running server sees at once, while
// statements run.
func TestCrawlFromTheCommandLine(t *testing.T) {
	dir, outside := writeProject(t, map[string]string{"tarn.yaml": projectFile}), t.TempDir()
	l := start(t, dir, t.TempDir())
	open, err := engine.OpenCatalog(t.Context(), engine.Options{Project: dir, Data: l.data}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	var wg sync.WaitGroup
	ctx, stop := context.WithCancel(t.Context())
	for range 2 {
		wg.Go(func() {
			for ctx.Err() == nil {
				if status, answer := l.ask("SELECT count(*) FROM system.tables, range(1000)"); status != http.StatusOK {
					t.Errorf("%d %s", status, answer)
				}
			}
		})
	}
	for i := range 5 {
		folder := filepath.Join(outside, fmt.Sprintf("t%d", i))
		put(t, filepath.Join(folder, "a.csv"), fmt.Appendf(nil, "id,name\n%d,x\n", i))
		c := engine.CrawlerOf(open.Project, open.Lake, projectCrawler(folder))
		if _, err := open.Crawl(t.Context(), c, false); err != nil {
			t.Fatal(err)
		}
		if got := l.sql(fmt.Sprintf("SELECT id FROM raw.t%d", i)); got != fmt.Sprint(i) {
			t.Error(got)
		}
	}
	stop()
	wg.Wait()
	if err := open.Forget(t.Context(), filepath.Join(outside, "t0")); err != nil {
		t.Error(err)
	}
	if status, _ := l.ask("SELECT * FROM raw.t0"); status != http.StatusNotFound {
		t.Error(status)
	}
}

// projectCrawler is a crawler as a project would declare it, named like its folder.
func projectCrawler(folder string) project.Crawler {
	return project.Crawler{Name: folder, Path: folder, Zone: "raw", Group: "auto", OnSchemaChange: "add_columns", OnDelete: "mark", MaxTables: 10}
}

// TestCrawlLooksAgain: a file that was still changing when its crawler ran is there soon after, not
// only at the next time of the schedule.
func TestCrawlLooksAgain(t *testing.T) {
	dir := writeProject(t, map[string]string{"tarn.yaml": projectFile,
		"crawlers/parts.yaml": "crawler: parts\npath: archive\nevery: 24h\n", "archive/parts.csv": "id,name\n1,wheel\n"})
	l := start(t, dir, t.TempDir())
	l.eventually("SELECT id, name FROM raw.archive", "1,wheel")
}
