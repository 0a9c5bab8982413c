package catalog_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tarn-data/tarn/catalog"
)

// contents are what the files of TestModel hold: some agree with one another and some with none.
var contents = []string{
	"id,name\n1,a\n", "id,name\n2,b\n", "id,name,more\n3,c,true\n", "id,name\n4.5,d\n", "id,name\nx,e\n", "id,name\n1,\n",
	"day,total,place\n2026-01-01,1,x\n", "day,total,place,note\n2026-01-01,2,x,y\n", "{\"id\": 1, \"name\": \"j\"}\n{\"id\": 2, \"name\": \"k\"}\n",
	"key\n1\n", "", "no table at all\n", "a;b;c\n1;2;3\n", gz("id,name\n7,g\n"),
}

var places = []string{"a.csv", "b.csv", "x/a.csv", "x/b.csv", "y/a.csv", "h/p=1/a.csv", "h/p=2/a.csv", "h/p=2/b.csv", "h/p=abc/a.csv", "z/deep/a.csv", "_hidden/a.csv", "x/c.json"}

// TestModel: after any sequence of changes and crawls the catalog is what a fresh crawl of the same
// folder gives, but for the names of tables, which stay, and the numbers of versions.
func TestModel(t *testing.T) {
	t.Parallel()
	steps := 0
	rapid.Check(t, func(rt *rapid.T) {
		f := newFixture(t)
		spec := func(c *catalog.Crawler) {
			c.OnSchemaChange, c.OnDelete = catalog.NewVersion, catalog.Drop
			c.Group = rapid.SampledFrom([]catalog.Grouping{catalog.GroupAuto, catalog.GroupFolders, catalog.GroupOne}).Draw(rt, "group")
		}
		fixed := f.spec(spec)
		same := func(c *catalog.Crawler) { *c = fixed }
		n := rapid.IntRange(1, 12).Draw(rt, "steps")
		for range n {
			steps++
			name := rapid.SampledFrom(places).Draw(rt, "file")
			switch rapid.SampledFrom([]string{"write", "write", "write", "remove", "touch", "crawl"}).Draw(rt, "do") {
			case "write":
				f.put(name, rapid.SampledFrom(contents).Draw(rt, "content"))
				f.age(name, f.now.Add(-time.Duration(rapid.IntRange(1, 100).Draw(rt, "age"))*time.Minute))
			case "remove":
				f.remove(name)
			case "touch":
				if _, err := os.Stat(filepath.Join(f.dir, name)); err == nil {
					f.age(name, f.now.Add(-time.Duration(rapid.IntRange(1, 100).Draw(rt, "age"))*time.Minute))
				}
			case "crawl":
				f.crawl(same)
				f.now = f.now.Add(time.Minute)
			}
		}
		f.crawl(same)
		got := describeAll(f)

		fresh := openFixture(t, filepath.Join(t.TempDir(), "fresh.db"), filepath.Dir(f.dir))
		fresh.now = f.now
		fresh.crawl(same)
		if want := describeAll(fresh); got != want {
			rt.Fatalf("after a history:\n%s\nfresh:\n%s", got, want)
		}
	})
	t.Logf("%d steps", steps)
}

// describeAll is everything a catalog says, without names of tables and numbers of versions.
func describeAll(f *fixture) string {
	tables, err := f.c.Tables(f.t.Context())
	if err != nil {
		f.t.Fatal(err)
	}
	var all []string
	for _, tb := range tables {
		var b strings.Builder
		fmt.Fprintf(&b, "%s %s %s\n", tb.Location, tb.Format, tb.Why)
		for _, c := range tb.Columns() {
			fmt.Fprintf(&b, "  %s %s %t %t\n", c.Name, c.Type, c.Partition, c.Unknown)
		}
		for _, file := range tb.Files() {
			part, _ := json.Marshal(file.Partition)
			fmt.Fprintf(&b, "  %s %d %s %d %.8s %s %s\n", file.Path, file.Size, file.ModTime, file.Rows, file.Fingerprint, file.Format, part)
		}
		v, err := tb.View(0)
		if err != nil {
			f.t.Fatal(err)
		}
		from, err := v.Relation(f.t.Context(), nil)
		if err != nil {
			f.t.Fatal(err)
		}
		fmt.Fprintf(&b, "  %s\n", strings.Join(f.query("SELECT * FROM "+from), "; "))
		all = append(all, b.String())
	}
	slices.Sort(all)
	return strings.Join(all, "")
}
