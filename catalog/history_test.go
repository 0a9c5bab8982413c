package catalog_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/catalog"
)

// TestIncremental: files that are as they were are not opened, and every change is found.
func TestIncremental(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.put("t/p=1/a.csv", "id,name\n1,a\n")
	f.put("t/p=2/a.csv", "id,name\n2,b\n")
	want := func(r *catalog.Report, opened, unchanged, added, changed, gone int) {
		t.Helper()
		if c := r.Files; c.Opened != opened || c.Unchanged != unchanged || c.Added != added || c.Changed != changed || c.Gone != gone {
			t.Errorf("%+v, want %d %d %d %d %d", c, opened, unchanged, added, changed, gone)
		}
	}
	want(f.crawl(), 2, 0, 2, 0, 0)
	want(f.crawl(), 0, 2, 0, 0, 0)
	f.put("t/p=3/a.csv", "id,name\n3,c\n")
	want(f.crawl(), 1, 2, 1, 0, 0)
	if got := strings.Join(f.rows("raw.t", "*"), " "); got != "1|a|1 2|b|2 3|c|3" {
		t.Error(got)
	}

	f.age("t/p=1/a.csv", f.now.Add(-30*time.Minute)) // touched: the content says that nothing changed
	r := f.crawl()
	want(r, 0, 3, 0, 0, 0)
	if r.Tables[0].Action != catalog.Changed {
		t.Error("the new time is not known:", r.Tables[0].Action)
	}
	f.rows("raw.t", "*")

	f.put("t/p=1/a.csv", "id,name\n9,z\n") // as long as before
	f.age("t/p=1/a.csv", f.now.Add(-20*time.Minute))
	want(f.crawl(), 1, 2, 0, 1, 0)
	if got := strings.Join(f.rows("raw.t", "*"), " "); got != "2|b|2 3|c|3 9|z|1" {
		t.Error(got)
	}
	f.remove("t/p=2")
	want(f.crawl(), 0, 2, 0, 0, 1)
	want(f.crawl(), 0, 2, 0, 0, 0)
	f.put("t/p=2/a.csv", "id,name\n2,b\n")
	want(f.crawl(), 1, 2, 1, 0, 0)
	f.put("t/p=2/a.csv", "")
	want(f.crawl(), 0, 2, 0, 1, 0)
}

// TestSameTime: a file that changes right after it was looked at, to the same size and within the
// grain of its time, is looked at again.
func TestSameTime(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	none := func(c *catalog.Crawler) { c.Settle = -1 }
	f.put("t/a.csv", "id,name\n1,a\n")
	f.age("t/a.csv", f.now)
	f.crawl(none)
	f.put("t/a.csv", "id,name\n1,b\n")
	f.age("t/a.csv", f.now)
	if r := f.crawl(none); r.Files.Changed != 1 {
		t.Errorf("%+v", r.Files)
	}
	f.now = f.now.Add(time.Minute)
	if r := f.crawl(none); r.Files.Opened != 0 || r.Files.Unchanged != 1 {
		t.Errorf("%+v", r.Files)
	}
}

// TestOnDelete: each way to answer that files are gone.
func TestOnDelete(t *testing.T) {
	t.Parallel()
	for how, want := range map[catalog.OnDelete][]string{
		catalog.Keep: {"unchanged raw.t csv 2 v1: id BIGINT, name VARCHAR", "unchanged raw.t csv 2 v1: id BIGINT, name VARCHAR"},
		catalog.Mark: {"changed raw.t csv 1 missing 1 v1: id BIGINT, name VARCHAR", "changed raw.t csv 0 missing 2 v1: id BIGINT, name VARCHAR"},
		catalog.Drop: {"changed raw.t csv 1 v1: id BIGINT, name VARCHAR", "dropped raw.t csv 0 v1:"},
	} {
		t.Run(string(how), func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			spec := func(c *catalog.Crawler) { c.OnDelete = how }
			f.put("t/a.csv", "id,name\n1,a\n")
			f.put("t/b.csv", "id,name\n2,b\n")
			f.crawl(spec)
			f.remove("t/b.csv")
			equal(t, summary(f.crawl(spec)), want[0])
			tb, err := f.c.Table(t.Context(), "raw.t")
			if err != nil {
				t.Fatal(err)
			}
			v, err := tb.View(0)
			if err != nil {
				t.Fatal(err)
			}
			_, err = v.Relation(t.Context(), nil)
			if (err != nil) != (how == catalog.Keep) {
				t.Errorf("reading what is left: %v", err)
			}
			f.remove("t/a.csv")
			f.put("x.txt", "") // the folder itself stays
			equal(t, summary(f.crawl(spec)), want[1])
			f.put("t/b.csv", "id,name\n2,b\n")
			r := f.crawl(spec)
			if len(r.Tables) != 1 || r.Tables[0].Action == catalog.Dropped {
				t.Errorf("come back: %s", summary(r))
			}
		})
	}
}

// TestFolderAway: a path that is gone changes nothing, whatever on_delete says.
func TestFolderAway(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.put("t/a.csv", "id,name\n1,a\n")
	spec := func(c *catalog.Crawler) { c.OnDelete = catalog.Drop }
	f.crawl(spec)
	if err := os.Rename(f.dir, f.dir+".away"); err != nil {
		t.Fatal(err)
	}
	if _, err := f.c.Crawl(t.Context(), f.spec(spec), false); tarn.CodeOf(err) != tarn.CodeNotFound {
		t.Error(err)
	}
	if _, err := f.c.Table(t.Context(), "raw.t"); err != nil {
		t.Error(err)
	}
}

// TestOnSchemaChange: each way to answer other columns.
func TestOnSchemaChange(t *testing.T) {
	t.Parallel()
	files := []struct{ name, content string }{
		{"t/1.csv", "id,name\n1,a\n"}, {"t/2.csv", "id,name,extra\n2.5,b,x\n"}, {"t/3.csv", "id,name\nabc,c\n"},
	}
	for how, want := range map[catalog.OnSchemaChange][]string{
		catalog.AddColumns: {
			"created raw.t csv 1 v1: id BIGINT, name VARCHAR",
			"changed raw.t csv 2 v2: id DOUBLE, name VARCHAR, extra VARCHAR",
			"changed raw.t csv 3 v3: id VARCHAR, name VARCHAR, extra VARCHAR",
			"changed raw.t csv 1 missing 2 v3: id VARCHAR, name VARCHAR, extra VARCHAR",
		},
		catalog.NewVersion: {
			"created raw.t csv 1 v1: id BIGINT, name VARCHAR",
			"changed raw.t csv 2 v2: id DOUBLE, name VARCHAR, extra VARCHAR",
			"changed raw.t csv 3 v3: id VARCHAR, name VARCHAR, extra VARCHAR",
			"changed raw.t csv 1 missing 2 v4: id BIGINT, name VARCHAR",
		},
		catalog.IgnoreChange: {
			"created raw.t csv 1 v1: id BIGINT, name VARCHAR",
			"unchanged raw.t csv 1 v1: id BIGINT, name VARCHAR",
			"unchanged raw.t csv 1 v1: id BIGINT, name VARCHAR",
			"changed raw.t csv 1 missing 1 v1: id BIGINT, name VARCHAR",
		},
	} {
		t.Run(string(how), func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			spec := func(c *catalog.Crawler) { c.OnSchemaChange = how }
			for i, file := range files {
				f.put(file.name, file.content)
				equal(t, summary(f.crawl(spec)), want[i])
				f.now = f.now.Add(time.Minute)
			}
			if how == catalog.AddColumns {
				for version, rows := range map[int]string{1: "1|a", 2: "1|a|<nil> 2.5|b|x", 0: "1|a|<nil> 2.5|b|x abc|c|<nil>"} {
					if got := strings.Join(f.rowsAt("raw.t", "*", version), " "); got != rows {
						t.Errorf("version %d: %s", version, got)
					}
				}
			}
			if how == catalog.IgnoreChange {
				if r := f.crawl(spec); r.Files.Skipped[catalog.Mismatch] != 2 || !strings.Contains(r.Skipped[0].Detail, "id is DOUBLE where the table has BIGINT") {
					t.Errorf("%+v", r.Skipped)
				}
				f.put("t/4.csv", "id,name,new\n4,d,y\n")
				f.crawl(spec)
				if got := strings.Join(f.rows("raw.t", "*"), " "); got != "1|a 4|d" {
					t.Error(got)
				}
				f.remove("t/4.csv")
			}
			f.remove("t/2.csv")
			f.remove("t/3.csv")
			equal(t, summary(f.crawl(spec)), want[3])
		})
	}
}

// TestPartitionValues: what a folder is called is what DuckDB reads of it, and files are pruned by it.
func TestPartitionValues(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for i, value := range []string{"a b", "a%20b", "a+b", "%zz", "a%2Fb", "ä", "%C3%A4", "'", "100%", ""} {
		f.put("t/s="+value+"/"+string(rune('a'+i))+".csv", "id,v\n1,2\n")
	}
	f.crawl()
	tb, err := f.c.Table(t.Context(), "raw.t")
	if err != nil {
		t.Fatal(err)
	}
	v, err := tb.View(0)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range v.Files {
		from, err := v.Relation(t.Context(), map[string]bool{file.Path: true})
		if err != nil {
			t.Fatal(err)
		}
		if got, want := f.query("SELECT s FROM " + from)[0], file.Parts[3]; got != want {
			t.Errorf("%s: DuckDB reads %q, we %q", file.Path, got, want)
		}
	}
}

// TestChangedSince: what is known of a file that has changed since it was crawled is not used.
func TestChangedSince(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.put("t/a.csv", "id,name\n1,a\n")
	f.crawl()
	tb, err := f.c.Table(t.Context(), "raw.t")
	if err != nil {
		t.Fatal(err)
	}
	v, err := tb.View(0)
	if err != nil {
		t.Fatal(err)
	}
	f.put("t/a.csv", "name,id\na,1\n")
	f.age("t/a.csv", f.now.Add(-time.Minute))
	if _, err := v.Relation(t.Context(), nil); tarn.CodeOf(err) != tarn.CodeConflict || !strings.Contains(err.Error(), "changed since") || !strings.Contains(err.Error(), "tarn crawl "+strings.TrimPrefix(tb.Crawler, "path:")) {
		t.Error(err)
	}
	f.remove("t/a.csv")
	if _, err := v.Relation(t.Context(), nil); tarn.CodeOf(err) != tarn.CodeConflict {
		t.Error(err)
	}
	if s, err := v.Relation(t.Context(), map[string]bool{}); err != nil || !strings.Contains(s, "WHERE false") {
		t.Error("nothing of the table is needed:", s, err)
	}
	if _, err := tb.View(7); tarn.CodeOf(err) != tarn.CodeNotFound {
		t.Error(err)
	}
}

// TestNames: tables keep their names while folders come and go, and nobody takes another's.
func TestNames(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.put("a/x.csv", "id,name\n1,a\n")
	f.crawl()
	f.put("b/x.csv", "id,name\n1,a\n") // now both lie in the folder above
	equal(t, summary(f.crawl()), "changed raw.a csv 2 v1: id BIGINT, name VARCHAR")

	other := func(c *catalog.Crawler) { c.Name, c.Path = "other", filepath.Join(f.dir, "a") }
	r, err := f.c.Crawl(t.Context(), f.spec(other), true)
	if err != nil || r.Tables[0].Name == "raw.a" {
		t.Errorf("%v %v", r, err)
	}
	_, err = f.c.Crawl(t.Context(), f.spec(other, func(c *catalog.Crawler) { c.Table = "a" }), false)
	if tarn.CodeOf(err) != tarn.CodeConflict {
		t.Error(err)
	}
	equal(t, summary(f.crawl(func(c *catalog.Crawler) { c.Table = "renamed" })), "created raw.renamed csv 2 v1: id BIGINT, name VARCHAR\ndropped raw.a csv 0 v1:")

	if err := f.c.Forget(t.Context(), "test"); err != nil {
		t.Error(err)
	}
	if _, err := f.c.Table(t.Context(), "raw.renamed"); tarn.CodeOf(err) != tarn.CodeNotFound {
		t.Error(err)
	}
	if err := f.c.Forget(t.Context(), "test"); tarn.CodeOf(err) != tarn.CodeNotFound {
		t.Error(err)
	}
	equal(t, summary(f.crawl()), "created raw.files csv 2 v1: id BIGINT, name VARCHAR")
}

// TestUnreadable: a file that may be read now was not changed by that, and is taken.
func TestUnreadable(t *testing.T) {
	t.Parallel()
	if os.Geteuid() == 0 {
		t.Skip("root reads everything")
	}
	f := newFixture(t)
	f.put("t/a.csv", "id,name\n1,a\n")
	name := filepath.Join(f.dir, "t", "a.csv")
	if err := os.Chmod(name, 0); err != nil {
		t.Fatal(err)
	}
	if r := f.crawl(); r.Files.Skipped[catalog.Unreadable] != 1 || len(r.Tables) != 0 {
		t.Errorf("%+v", r)
	}
	if err := os.Chmod(name, 0o644); err != nil {
		t.Fatal(err)
	}
	equal(t, summary(f.crawl()), "created raw.t csv 1 v1: id BIGINT, name VARCHAR")
}
