package filedrop

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	b3 "lukechampine.com/blake3"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/lake"
)

// TestDrop takes files of several formats, good and bad, and looks at what is where afterwards.
func TestDrop(t *testing.T) {
	s := newSite(t, 1).open()
	s.drop("good.csv", "a,b\n1,x\n2,y\n")
	s.drop("some.ndjson", "{\"a\":1}\nbad\n{}\n{\"a\":{\"b\":2}} \n{\"a\":2")
	s.drop("none.ndjson", "bad\nworse\n")
	s.drop("zero.csv", "")
	s.drop("binary.dat", "\x00\x01\x02")
	s.drop(".hidden.csv", "a\n1\n")
	for _, name := range []string{"x.tmp", "x.part", "x.CRDOWNLOAD"} {
		s.drop(name, "a\n1\n")
	}
	s.until("done/good.csv")
	s.until("done/some.ndjson")
	s.until("done/zero.csv")
	s.until("failed/none.ndjson")
	s.until("failed/binary.dat")
	s.want("good.csv:2 1", "good.csv:3 2", "some.ndjson:1 1", "some.ndjson:3 <nil>", "some.ndjson:4 map[b:2]")

	if got := s.until("done/some.ndjson.rejected.ndjson"); strings.Count(got, "\n") != 2 || !strings.Contains(got, `{"line":2,"code":"invalid_json"`) ||
		!strings.Contains(got, `"text":"{\"a\":2"`) {
		t.Error(got)
	}
	var doc errorDoc
	if err := json.Unmarshal([]byte(s.until("failed/none.ndjson.error.json")), &doc); err != nil || doc.Line != 1 || doc.Code != tarn.CodeInvalidJSON || doc.Rejected != 2 || doc.Hint == "" {
		t.Errorf("%v %+v", err, doc)
	}
	if got := s.until("failed/binary.dat.error.json"); !strings.Contains(got, "zero bytes") {
		t.Error(got)
	}
	for _, name := range []string{".hidden.csv", "x.tmp", "x.part", "x.CRDOWNLOAD"} {
		s.until(name) // still there
	}

	// I5: the copy in the zone raw is the file.
	hash := hashOf("a,b\n1,x\n2,y\n")
	raw, err := lake.ReadAll(t.Context(), s.bucket, "raw/files/users/"+hash+"/good.csv")
	if err != nil || string(raw) != "a,b\n1,x\n2,y\n" {
		t.Errorf("%q, %v", raw, err)
	}
}

// TestTakenOnce: the bytes are the file, not the name.
func TestTakenOnce(t *testing.T) {
	s := newSite(t, 1).open()
	s.drop("a.csv", "a\n1\n")
	s.until("done/a.csv")
	s.drop("b.csv", "a\n1\n")
	if got := s.until("done/b.csv.duplicate.json"); !strings.Contains(got, `"taken_as": "a.csv"`) {
		t.Error(got)
	}
	s.until("done/b.csv")
	s.want("a.csv:2 1")

	s.drop("a.csv", "a\n2\n")
	hash := hashOf("a\n2\n")
	s.until("done/a-" + hash[:8] + ".csv")
	s.want("a.csv:2 1", "a.csv:2 2")

	// Also after a restart.
	s.stop()
	s.open()
	s.drop("c.csv", "a\n1\n")
	s.until("done/c.csv.duplicate.json")
	s.want("a.csv:2 1", "a.csv:2 2")
}

// TestRoutes asks conditions and carries their answer with the records.
func TestRoutes(t *testing.T) {
	s := newSite(t, 1)
	s.o.Routes = []Route{{Name: "curated.all"}, {Name: "database.users", When: "list_contains(columns, 'user_id') AND format = 'csv'"},
		{Name: "curated.big", When: "file_size > 1000"}, {Name: "curated.seven", When: "file_name LIKE '%.ndjson' AND (sample->>'$[0].a') = '7'"}}
	s.open()
	for name, c := range map[string]struct {
		text string
		want []string
	}{
		"u.csv":    {"user_id,a\n1,2\n", []string{"curated.all", "database.users"}},
		"b.csv":    {"a\n" + strings.Repeat("1\n", 600), []string{"curated.all", "curated.big"}},
		"s.ndjson": {"{\"a\":7}\n", []string{"curated.all", "curated.seven"}},
	} {
		s.drop(name, c.text)
		s.until("done/" + name)
		_, segments := s.records()
		if d := cmp.Diff(c.want, segments[len(segments)-1].Routes); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
	s.drop("r.avro", "Obj\x01junk") // is not of a moment either when its sample is read
	if got := s.until("failed/r.avro.error.json"); !strings.Contains(got, "damaged") {
		t.Error(got)
	}
	s.stop()
	s.o.Routes[1].When = "1/(file_size - file_size) > sample"
	s.open()
	s.drop("x.csv", "a\n1\n")
	if got := s.until("failed/x.csv.error.json"); !strings.Contains(got, "database.users") {
		t.Error(got)
	}
	s.stop()
	s.o.Routes[1].When = "len(read_text('/etc/passwd')) > 0"
	s.open()
	s.drop("y.csv", "a\n2\n")
	if got := s.until("failed/y.csv.error.json"); !strings.Contains(got, "not allowed") && !strings.Contains(got, "no function") {
		t.Error(got)
	}
}

func TestParquet(t *testing.T) {
	s := newSite(t, 1).open()
	sql, _ := s.o.SQL()
	path := filepath.Join(s.dir, "p.parquet")
	if err := sql.Exec(t.Context(), `COPY (SELECT i AS a, {x: i, l: [i]} AS s, TIMESTAMP '2026-11-20 01:02:03' AS at, 1.5::DECIMAL(4,2) AS d, 'nan'::DOUBLE AS f
		FROM range(200000) t(i)) TO '`+path+`' (FORMAT parquet, ROW_GROUP_SIZE 5000)`); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s.drop("p.parquet", string(b))
	s.until("done/p.parquet")
	all, _ := s.records()
	if len(all) != 200_000 {
		t.Fatal(len(all))
	}
	for i, rec := range all {
		hash, _, _ := strings.Cut(rec[strings.Index(rec, `"_file_hash":"`)+14:], `"`)
		if want := fmt.Sprintf(`{"a":%d,"s":{"x":%d,"l":[%d]},"at":"2026-11-20 01:02:03","d":1.5,"f":null,"_line":%d,"_file":"p.parquet","_file_hash":"%s"}`, i, i, i, i+1, hash); rec != want {
			t.Fatalf("row %d:\n%s\n%s", i, rec, want)
		}
	}
	s.drop("q.parquet", string(b[:len(b)-9]))
	if got := s.until("failed/q.parquet.error.json"); !strings.Contains(got, "Parquet") || strings.Contains(got, s.dir) {
		t.Error(got)
	}
}

// TestPush pushes the same bytes twice, on purpose, at the same time, and in a form over HTTP.
func TestPush(t *testing.T) {
	s := newSite(t, 3)
	s.o.KeyPath = "a"
	s.o.Folder = ""
	s.open()
	push := func(name, text string, o PushOptions) Outcome {
		t.Helper()
		out, err := s.door.Push(t.Context(), name, strings.NewReader(text), o)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	text := "a\n1\n2\n3\nx,y\n"
	first := push("f.csv", text, PushOptions{})
	if first.Accepted != 3 || first.Rejected != 1 || first.Duplicate || len(first.Shards) == 0 || first.Rejects[0].Line != 5 {
		t.Errorf("%+v", first)
	}
	second := push("g.csv", text, PushOptions{})
	if !second.Duplicate || second.TakenAs != "f.csv" || second.Accepted != 3 || cmp.Diff(first.Shards, second.Shards) != "" {
		t.Errorf("%+v", second)
	}
	if again := push("f.csv", text, PushOptions{Again: true}); again.Duplicate || again.Take != 1 {
		t.Errorf("%+v", again)
	}
	fresh := make(chan bool)
	for range 8 {
		go func() {
			out, err := s.door.Push(context.Background(), "h.csv", strings.NewReader("a\n9\n"), PushOptions{})
			fresh <- err == nil && !out.Duplicate
		}()
	}
	taken := 0
	for range 8 {
		if <-fresh {
			taken++
		}
	}
	if all, _ := s.records(); taken != 1 || len(all) != 7 {
		t.Errorf("%d taken, %d records", taken, len(all))
	}
	if _, err := s.door.Push(t.Context(), "e.csv", strings.NewReader(""), PushOptions{}); tarn.CodeOf(err) != tarn.CodeInvalid {
		t.Error(err)
	}
	if _, err := s.door.Push(t.Context(), "e.ndjson", strings.NewReader("bad"), PushOptions{}); tarn.CodeOf(err) != tarn.CodeInvalidJSON {
		t.Error(err)
	}
	if _, err := s.door.Push(t.Context(), "e.csv", io.MultiReader(strings.NewReader("a\n"), brokenReader{}), PushOptions{}); err == nil {
		t.Error("a broken body is taken")
	}
	if left, _ := os.ReadDir(s.o.Spool); len(left) != 0 {
		t.Error(left)
	}
	s.stop()
	if _, err := s.door.Push(t.Context(), "f.csv", strings.NewReader("a\n1\n"), PushOptions{}); tarn.CodeOf(err) != tarn.CodeUnavailable {
		t.Error(err)
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, errors.New("the line is cut") }

func hashOf(text string) string {
	sum := b3.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])[:hashDigits]
}

func gzipped(text string) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = io.WriteString(w, text)
	_ = w.Close()
	return b.Bytes()
}
