package catalog_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/catalog"
	"github.com/tarn-data/tarn/metadb"
	"github.com/tarn-data/tarn/metadb/metadbtest"
)

// killAt tells the re-executed test binary that it is a crawl that stops at a step: STEP FOLDER.
const killAt = "TARN_TEST_CRAWL_KILL"

func TestMain(m *testing.M) {
	if at := os.Getenv(killAt); at != "" {
		step, base, _ := strings.Cut(at, " ")
		crawlChild(step, base)
		return
	}
	os.Exit(m.Run())
}

// crawlChild crawls until a step, says so, and waits to be killed.
func crawlChild(step, base string) {
	fail := func(err error) {
		if err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
	}
	db, err := metadb.Open(context.Background(), filepath.Join(base, "meta.db"), metadb.Options{})
	fail(err)
	c, err := catalog.Open(catalog.Options{DB: db, Cache: filepath.Join(base, "cache"), Data: filepath.Join(base, "data"), Threads: 1,
		OnStep: func(name string, _, _ int) {
			if name == step {
				fmt.Println("reached", name)
				select {}
			}
		}})
	fail(err)
	_, err = c.Crawl(context.Background(), catalog.Crawler{Name: "test", Path: filepath.Join(base, "files")}, false)
	fail(err)
}

// TestKilled kills a crawl with SIGKILL at each of its steps: readers have the tables of before
// until the transaction has committed, and those of after from then on.
func TestKilled(t *testing.T) {
	t.Parallel()
	for _, step := range []string{"list", "look", "group", "write", "commit", "done"} {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			f.put("t/a.csv", "id,name\n1,a\n")
			f.put("gone/b.csv", "x,y,z\n1,2,3\n")
			f.crawl()
			f.put("t/b.csv", "id,name,more\n2,b,c\n")
			f.put("t/c.avro", avroFile(t))
			f.remove("gone")
			f.put("new/d.csv", "k,l,m\n1,2,3\n")

			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), killAt+"="+step+" "+filepath.Dir(f.dir))
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			line, _ := bufio.NewReader(out).ReadString('\n')
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			if !strings.HasPrefix(line, "reached") {
				t.Fatalf("the child says %q", line)
			}
			before := "raw.gone 1, raw.t 1"
			after := "raw.c 1, raw.gone 1, raw.new 1, raw.t 2"
			want := before
			if step == "done" {
				want = after
			}
			if got := listed(t, f.c); got != want {
				t.Errorf("after the kill: %s, want %s", got, want)
			}
			f.crawl()
			if got := listed(t, f.c); got != after {
				t.Errorf("after another crawl: %s, want %s", got, after)
			}
		})
	}
}

// listed are the tables and how many files each lists.
func listed(t testing.TB, c *catalog.Catalog) string {
	t.Helper()
	tables, err := c.Tables(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var parts []string
	for _, tb := range tables {
		parts = append(parts, fmt.Sprintf("%s %d", tb.Name, len(tb.Files())))
	}
	return strings.Join(parts, ", ")
}

// TestTwoCrawls: of crawls at the same time each takes effect whole or is refused, and readers see
// whole lists only.
func TestTwoCrawls(t *testing.T) {
	t.Parallel()
	for _, database := range []string{"sqlite", "postgres"} {
		t.Run(database, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			if database == "postgres" {
				f = openFixture(t, metadbtest.Postgres(t).Database(t), filepath.Dir(f.dir))
			}
			f.put("t/a.csv", "id,name\n1,a\n")
			f.crawl()
			var wg sync.WaitGroup
			done := make(chan struct{})
			wg.Go(func() {
				for {
					select {
					case <-done:
						return
					default:
					}
					tables, err := f.c.Tables(context.Background())
					if err != nil {
						t.Error(err)
						return
					}
					for _, tb := range tables {
						n := len(tb.Files())
						if n != 1 && n != 21 {
							t.Errorf("%d files", n)
						}
					}
				}
			})
			for i := range 20 {
				f.put(fmt.Sprintf("t/b%d.csv", i), "id,name\n2,b\n")
			}
			var crawls sync.WaitGroup
			var refused, taken int
			var mu sync.Mutex
			for range 4 {
				crawls.Go(func() {
					_, err := f.c.Crawl(context.Background(), f.spec(), false)
					mu.Lock()
					defer mu.Unlock()
					var e *tarn.Error
					switch {
					case err == nil:
						taken++
					case errors.As(err, &e) && e.Code == tarn.CodeConflict:
						refused++
					default:
						t.Error(err)
					}
				})
			}
			crawls.Wait()
			close(done)
			wg.Wait()
			if taken == 0 || taken+refused != 4 {
				t.Errorf("%d taken, %d refused", taken, refused)
			}
			if got := listed(t, f.c); got != "raw.t 21" {
				t.Error(got)
			}
		})
	}
}
