package catalog_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/catalog"
)

// TestCorpus crawls folders as they come and compares what becomes of them.
func TestCorpus(t *testing.T) {
	for _, c := range []struct {
		name    string
		files   map[string]string
		spec    func(*catalog.Crawler)
		want    string            // see summary
		skipped map[string]string // path → reason
	}{
		{name: "one csv", files: map[string]string{"users.csv": "id,name\n1,a\n"},
			want: "created raw.files csv 1 v1: id BIGINT, name VARCHAR"},
		{name: "hive", files: map[string]string{
			"events/year=2026/month=01/a.csv": "id,v\n1,1.5\n", "events/year=2026/month=11/b.csv": "id,v\n2,2\n",
			"events/year=2026/month=__HIVE_DEFAULT_PARTITION__/c.csv": "id,v\n3,\n"},
			want: "created raw.events csv 3 by year,month v1: id BIGINT, v DOUBLE, year BIGINT, month BIGINT"},
		{name: "typed partitions", files: map[string]string{
			"e/day=2026-01-02/device=007/a.csv": "id,v\n1,1\n", "e/day=2026-01-03/device=42/a.csv": "id,v\n1,1\n"},
			want: "created raw.e csv 2 by day,device v1: id BIGINT, v BIGINT, day DATE, device VARCHAR"},
		{name: "mixed formats, one schema", files: map[string]string{
			"m/a.csv": "id,name\n1,a\n", "m/b.ndjson": "{\"id\": 2, \"name\": \"b\"}\n{\"id\": 3, \"name\": \"c\"}\n", "m/c.tsv": "id\tname\n4\td\n",
			"m/d.json": `[{"id": 5, "name": "e"}]`, "m/e.csv.gz": gz("id,name\n6,f\n"), "m/f.csv.zst": zst("id,name\n7,g\n")},
			want: "created raw.m csv+json+ndjson+tsv 6 v1: id BIGINT, name VARCHAR"},
		{name: "drift in a hive folder", files: map[string]string{
			"d/y=2024/a.csv": "id,name\n1,a\n", "d/y=2025/a.csv": "id,name,extra\n2,b,x\n", "d/y=2026/a.csv": "id,other\n2.5,o\n"},
			want: "created raw.d csv 3 by y v1: id DOUBLE, name VARCHAR, extra VARCHAR, other VARCHAR, y BIGINT"},
		{name: "wrong extensions", files: map[string]string{
			"w/a.json": "id,name\n1,a\n", "w/b.csv": "{\"id\": 2, \"name\": \"b\"}\n{\"id\": 3, \"name\": \"b\"}\n", "w/c.csv": gz("id,name\n1,a\n"), "w/d.parquet": "id,name\n4,d\n"},
			want: "created raw.w csv+ndjson 4 v1: id BIGINT, name VARCHAR"},
		{name: "encodings", files: map[string]string{
			"enc/utf8.csv": "id,näme\n1,ä\n", "enc/bom.csv": "\xef\xbb\xbfid,näme\n2,ö\n", "enc/latin1.csv": "id,n\xe4me\n3,\xfc\n",
			"enc/utf16.csv": "\xff\xfei\x00d\x00,\x00n\x00\xe4\x00m\x00e\x00\n\x004\x00,\x00\xdf\x00\n\x00", "enc/utf16be.csv": "\xfe\xff\x00i\x00d\x00\n\x001",
			"enc/bad.ndjson": "{\"id\": 1, \"n\": \"\xff\"}\n{}\n"},
			want:    "created raw.enc csv 4 v1: id BIGINT, näme VARCHAR",
			skipped: map[string]string{"enc/utf16be.csv": "encoding", "enc/bad.ndjson": "encoding"}},
		{name: "header-less", files: map[string]string{"h/a.csv": "1,2026-01-01,x\n2,2026-01-02,y\n"},
			want: "created raw.h csv 1 v1: column0 BIGINT, column1 DATE, column2 VARCHAR"},
		{name: "quoted newlines, other delimiters, comments", files: map[string]string{
			"q/a.csv": "id;text\n1;\"line one\nline two\"\n2;\"a \"\"quote\"\"\"\n", "q/b.csv": "id|text\n3|plain\n"},
			want: "created raw.q csv 2 v1: id BIGINT, text VARCHAR"},
		{name: "what is no data", files: map[string]string{
			"n/users.csv": "id,name\n1,a\n", "n/.hidden.csv": "x,y\n1,2\n", "n/_SUCCESS": "", "n/users.csv.crc": "x", "n/_temporary/0/a.csv": "x,y\n1,2\n",
			"n/empty.csv": "", "n/blank.csv": " \n", "n/a.csv.tmp": "id,name\n1,a\n", "n/readme.txt": "Hello there.\nThis is a text, with commas.\n",
			"n/a.zip": "PK\x03\x04xxxxxxxxxxx", "n/cut.parquet": "PAR1xxxxxxxxxxxxxxxxxx", "n/bin": "\x00\x01\x02\x03", "n/cut.csv.gz": gz(strings.Repeat("id,name\n", 9000))[:60],
			"n/broken.json": `{"a": 1, "b": `},
			want: "created raw.n csv 1 v1: id BIGINT, name VARCHAR",
			skipped: map[string]string{"n/empty.csv": "empty", "n/blank.csv": "empty", "n/a.csv.tmp": "unfinished", "n/readme.txt": "unsupported", "n/a.zip": "unsupported",
				"n/cut.parquet": "unfinished", "n/bin": "unsupported", "n/cut.csv.gz": "unfinished", "n/broken.json": "malformed"}},
		{name: "delta and iceberg tables", files: map[string]string{
			"l/delta/_delta_log/0.json": "{}", "l/delta/a.csv": "id,name\n1,a\n", "l/ice/metadata/v1.metadata.json": "{}", "l/ice/a.csv": "id,name\n1,a\n", "l/plain/a.csv": "id,name\n1,a\n"},
			want: "created raw.plain csv 1 v1: id BIGINT, name VARCHAR", skipped: map[string]string{"l/delta": "foreign", "l/ice": "foreign"}},
		{name: "strangers", files: map[string]string{
			"s/users.csv": "id,name,mail\n1,a,b\n", "s/orders.csv": "id,total,day\n1,2,2026-01-01\n", "s/ids.csv": "id\n1\n2\n"},
			want: "created raw.ids csv 1 v1: id BIGINT\ncreated raw.orders csv 1 v1: id BIGINT, total BIGINT, day DATE\ncreated raw.users csv 1 v1: id BIGINT, name VARCHAR, mail VARCHAR"},
		{name: "folders that agree", files: map[string]string{
			"f/dev1/a.csv": "t,v\n1,2\n", "f/dev2/a.csv": "t,v\n1,2.5\n", "f/dev3/a.csv": "t,v,w\n1,2,3\n", "f/meta/m.csv": "device,place,owner\nx,y,z\n"},
			want: "created raw.f csv 3 v1: t BIGINT, v DOUBLE, w BIGINT\ncreated raw.meta csv 1 v1: device VARCHAR, place VARCHAR, owner VARCHAR"},
		{name: "folders that agree, by folders", spec: func(c *catalog.Crawler) { c.Group = catalog.GroupFolders }, files: map[string]string{
			"f/dev1/a.csv": "t,v\n1,2\n", "f/dev2/a.csv": "t,v\n1,2.5\n"},
			want: "created raw.dev1 csv 1 v1: t BIGINT, v BIGINT\ncreated raw.dev2 csv 1 v1: t BIGINT, v DOUBLE"},
		{name: "one table", spec: func(c *catalog.Crawler) { c.Table, c.Zone = "all_of_it", "cleaned" }, files: map[string]string{
			"f/a.csv": "t,v\n1,2\n", "f/b.csv": "x,y\n1,z\n", "f/c.csv": "t,v\nabc,1\n"},
			want: "created cleaned.all_of_it csv 3 v1: t VARCHAR, v BIGINT, x BIGINT, y VARCHAR"},
		{name: "same names, other folders", files: map[string]string{"eu/users/a.csv": "id,name,x\n1,a,1\n", "us/users/a.csv": "key,mail,y\n1,a,1\n"},
			want: "created raw.us_users csv 1 v1: key BIGINT, mail VARCHAR, y BIGINT\ncreated raw.users csv 1 v1: id BIGINT, name VARCHAR, x BIGINT"},
		{name: "columns without values fit any type", files: map[string]string{"e/a.csv": "id,v\n1,\n", "e/b.csv": "id,v\n2,3\n", "e/c.ndjson": "{\"id\":1,\"v\":null}\n{\"id\":2,\"v\":null}\n"},
			want: "created raw.e csv+ndjson 3 v1: id BIGINT, v BIGINT"},
		{name: "parts without values fit any type", files: map[string]string{"e/a.ndjson": `{"id":1,"l":[],"s":{"x":null,"y":[]},"m":{"z":null}}` + "\n" + `{"id":2}` + "\n",
			"e/b.ndjson": `{"id":3,"l":[1],"s":{"x":5,"y":[1.5]},"m":{"z":true}}` + "\n" + `{"id":4}` + "\n"},
			want: `created raw.e ndjson 2 v1: id BIGINT, l BIGINT[], s STRUCT("x" BIGINT, "y" DOUBLE[]), m STRUCT("z" BOOLEAN)`},
		{name: "spelling", files: map[string]string{"e/a.csv": "ID,Name\n1,x\n", "e/b.ndjson": "{\"id\":2,\"name\":\"y\"}\n{\"id\":3,\"name\":\"z\"}\n"},
			want: "created raw.e csv+ndjson 2 v1: ID BIGINT, Name VARCHAR"},
		{name: "one file", spec: func(c *catalog.Crawler) { c.Path += "/x/users.csv" }, files: map[string]string{"x/users.csv": "id,name\n1,a\n", "x/b.csv": "id,name\n1,a\n"},
			want: "created raw.users csv 1 v1: id BIGINT, name VARCHAR"},
		{name: "nothing", files: map[string]string{}, want: ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			for name, content := range c.files {
				f.put(name, content)
			}
			r := f.crawl(func(s *catalog.Crawler) {
				if c.spec != nil {
					c.spec(s)
				}
			})
			equal(t, summary(r), c.want)
			got := map[string]string{}
			for _, s := range r.Skipped {
				got[s.Path] = string(s.Reason)
			}
			if fmt.Sprint(got) != fmt.Sprint(c.skipped) && len(got)+len(c.skipped) > 0 {
				t.Errorf("skipped %v, want %v; %+v", got, c.skipped, r.Skipped)
			}
			for _, tb := range r.Tables {
				n := len(f.rows(tb.Name, "*"))
				if tb.Rows == nil || int64(n) != *tb.Rows {
					t.Errorf("%s has %d rows, said %v", tb.Name, n, tb.Rows)
				}
			}
			if again := f.crawl(func(s *catalog.Crawler) {
				if c.spec != nil {
					c.spec(s)
				}
			}); again.Files.Opened > 0 || again.Files.Added > 0 {
				t.Errorf("the second crawl: %+v", again.Files)
			}
		})
	}
}

// TestAsDuckDB compares with what DuckDB says of the same files by itself.
func TestAsDuckDB(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.put("csv/year=2025/month=01/a.csv", "id,name,ts,v\n1,x,2026-01-01 10:00:00,1.5\n2,\"y\nz\",2026-01-01 11:00:00,\n")
	f.put("csv/year=2025/month=02/b.csv", "id,name,ts,v\n3,007,2026-02-01 10:00:00,2\n")
	f.put("csv/year=2026/month=02/c.csv", "id,name,ts,v,more\n4,008,2026-02-03 10:00:00,7,true\n")
	f.put("json/a.ndjson", `{"id":1,"s":{"a":1,"b":"x"},"l":[1,2]}`+"\n"+`{"id":2,"s":{"a":2.5},"l":[]}`+"\n")
	f.put("times/a.ndjson", `{"id":1,"at":"2026-01-01T10:00:00Z","day":"2026-01-01"}`+"\n"+`{"id":2,"at":"2026-01-01T10:00:00.123Z","day":"2026-01-02"}`+"\n")
	f.put("times/b.ndjson", `{"id":3,"at":"2026-01-01 11:00:00","day":"2026-01-03"}`+"\n")
	f.put("json/b.ndjson", `{"id":3,"s":{"c":true},"l":[3]}`+"\n"+`{"id":4}`+"\n")
	f.parquet("pq/day=2026-01-01/a.parquet", "SELECT 1::INTEGER AS id, 'a' AS s, {'x': 1} AS st, TIMESTAMP '2026-01-01 00:00:00' AS ts")
	f.parquet("pq/day=2026-01-02/b.parquet", "SELECT 5000000000 AS id, 'b' AS s, {'x': 2} AS st, TIMESTAMP '2026-01-02 00:00:00' AS ts")
	f.crawl()
	for _, c := range []struct{ table, columns, sql string }{
		{"raw.csv", "id, name, ts, v, more, year, month", "read_csv('" + f.dir + "/csv/**/*.csv', union_by_name=true, hive_partitioning=true, hive_types={'year': BIGINT, 'month': BIGINT})"},
		{"raw.json", "id, s, l", "read_json('" + f.dir + "/json/*.ndjson', union_by_name=true)"},
		{"raw.times", `id, "at", day`, "read_json('" + f.dir + "/times/*.ndjson', union_by_name=true)"},
		{"raw.pq", "id, s, st, ts, day", "read_parquet('" + f.dir + "/pq/**/*.parquet', union_by_name=true, hive_partitioning=true)"},
	} {
		got, want := f.rows(c.table, c.columns), f.query("SELECT "+c.columns+" FROM "+c.sql)
		if !slices.Equal(got, want) {
			t.Errorf("%s:\n%s\nDuckDB:\n%s", c.table, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

// TestSpecialFiles are those that an archive of text cannot hold.
func TestSpecialFiles(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.put("a/users.csv", "id,name\n1,a\n")
	f.put("outside.csv", "id,name\n2,b\n")
	if err := os.Symlink("/etc/passwd", f.dir+"/a/out.csv"); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("users.csv", f.dir+"/a/in.csv"); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("..", f.dir+"/a/loop"); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(f.dir+"/a/pipe.csv", 0o644); err != nil {
		t.Fatal(err)
	}
	f.put("a/new.csv", "id,name\n3,c\n")
	f.age("a/new.csv", f.now.Add(-time.Second))
	f.put("a/bad\xff.csv", "id,name\n1,a\n")
	r := f.crawl(func(c *catalog.Crawler) { c.Path += "/a" })
	equal(t, summary(r), "created raw.a csv 2 v1: id BIGINT, name VARCHAR")
	for reason, n := range map[catalog.Reason]int{catalog.Link: 2, catalog.Special: 1, catalog.Settling: 1, catalog.Unreadable: 1} {
		if r.Files.Skipped[reason] != n {
			t.Errorf("%s: %d, want %d: %+v", reason, r.Files.Skipped[reason], n, r.Skipped)
		}
	}
	f.now = f.now.Add(3 * time.Second)
	if r := f.crawl(func(c *catalog.Crawler) { c.Path += "/a" }); r.Files.Added != 1 {
		t.Errorf("the file that has settled: %+v", r.Files)
	}
}

// TestThousandsOfFolders: one dataset is one table, and what is none is refused.
func TestThousandsOfFolders(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	n := 3000
	if testing.Short() {
		n = 300
	}
	for i := range n {
		f.put(fmt.Sprintf("fleet/dev%04d/readings.csv", i), fmt.Sprintf("t,v\n%d,%d\n", i, i))
	}
	f.put("fleet/meta/devices.csv", "device,place,owner\nx,y,z\n")
	start := time.Now()
	r := f.crawl()
	first := time.Since(start)
	equal(t, summary(r), fmt.Sprintf("created raw.fleet csv %d v1: t BIGINT, v BIGINT\ncreated raw.meta csv 1 v1: device VARCHAR, place VARCHAR, owner VARCHAR", n))
	if !strings.Contains(r.Tables[0].Why, fmt.Sprintf("in %d folders", n)) {
		t.Error(r.Tables[0].Why)
	}
	f.put("fleet/dev9999/readings.csv", "t,v\n1,2\n")
	start = time.Now()
	if r = f.crawl(); r.Files.Opened != 1 {
		t.Errorf("%+v", r.Files)
	}
	again := time.Since(start)
	start = time.Now()
	if got := f.rows("raw.fleet", "count(*), sum(t)"); got[0] != fmt.Sprintf("%d|%d", n+1, n*(n-1)/2+1) {
		t.Error(got)
	}
	t.Logf("%d folders: first crawl %v, one more file %v, count %v", n, first.Round(time.Millisecond), again.Round(time.Millisecond), time.Since(start).Round(time.Millisecond))

	for i := range 120 {
		f.put(fmt.Sprintf("zoo/t%d.csv", i), fmt.Sprintf("a%d,b%d,c\n1,2,3\n", i, i))
	}
	_, err := f.c.Crawl(t.Context(), f.spec(), false)
	if tarn.CodeOf(err) != tarn.CodeTooLarge || !strings.Contains(err.Error(), "122 tables") || !strings.Contains(err.Error(), "--max-tables") {
		t.Errorf("too many tables: %v", err)
	}
	if _, err := f.c.Table(t.Context(), "raw.fleet"); err != nil {
		t.Errorf("the tables of before: %v", err)
	}
	if r := f.crawl(func(c *catalog.Crawler) { c.MaxTables = 200 }); len(r.Tables) != 122 {
		t.Error(len(r.Tables))
	}
}

// TestForbidden: Tarn's own data is not crawled, however it is reached.
func TestForbidden(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.put("../data/meta/a.csv", "id,name\n1,a\n")
	f.put("../data/lake/curated/t/a.csv", "id,name\n1,a\n")
	f.put("../data/lake/raw/u/a.csv", "id,name\n1,a\n")
	for path, want := range map[string]tarn.Code{f.data: tarn.CodeForbidden, f.data + "/meta": tarn.CodeForbidden, f.data + "/lake": tarn.CodeForbidden,
		f.data + "/lake/curated": tarn.CodeForbidden, f.data + "/lake/raw/u": "", f.dir + "/nowhere": tarn.CodeNotFound, "relative": tarn.CodeInvalid} {
		_, err := f.c.Crawl(t.Context(), catalog.Crawler{Name: path, Path: path, Table: "t", OnDelete: catalog.Drop}, true)
		if code := tarn.CodeOf(err); err == nil && want != "" || err != nil && code != want {
			t.Errorf("%s: %v, want %s", path, err, want)
		}
	}
}
