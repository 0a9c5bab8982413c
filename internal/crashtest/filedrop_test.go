package crashtest

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// droppedFile is a file for the landing folder and what must become of it.
type droppedFile struct {
	name  string
	text  []byte
	lines int // good records
}

// makeFile makes a file of one of the formats the door reads fast, with some records that are none.
func makeFile(rng *rand.Rand, n int) droppedFile {
	f := droppedFile{lines: 0}
	rows := 1 + rng.IntN(120_000)
	var b bytes.Buffer
	csv := n%3 == 1
	if csv {
		b.WriteString("file,row,pad\n")
	}
	for i := range rows {
		switch {
		case i%5_000 == 4_999:
			b.WriteString("neither,this,nor,that\n")
			continue
		case csv:
			fmt.Fprintf(&b, "%d,%d,%s\n", n, i, strings.Repeat("c", i%80))
		default:
			fmt.Fprintf(&b, `{"file":%d,"row":%d,"pad":"%s"}`+"\n", n, i, strings.Repeat("j", i%80))
		}
		f.lines++
	}
	f.name, f.text = fmt.Sprintf("file-%d.%s", n, map[bool]string{true: "csv", false: "ndjson"}[csv]), b.Bytes()
	if n%3 == 2 {
		var z bytes.Buffer
		w := gzip.NewWriter(&z)
		_, _ = w.Write(f.text)
		_ = w.Close()
		f.name, f.text = f.name+".gz", z.Bytes()
	}
	return f
}

// TestFileDrop drops files and kills the server at random moments while it takes them. Afterwards every
// good line of every file is in the table exactly once, and every file lies in done/.
func TestFileDrop(t *testing.T) {
	rounds := int(setting(t, "TARN_CRASH_ROUNDS", 10))
	seed := setting(t, "TARN_CRASH_SEED", time.Now().UnixNano())
	t.Logf("%d rounds; TARN_CRASH_SEED=%d repeats the choices", rounds, seed)
	rng := rand.New(rand.NewPCG(uint64(seed), 9))
	project, data := t.TempDir(), t.TempDir()
	write := func(path, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(filepath.Join(project, "tarn.yaml"), "version: 1\nname: crash\n")
	write(filepath.Join(project, "pipelines", "files.yaml"), `pipeline: files
source:
  files: {path: landing/files, settle: 100ms}
stream: {shards: 2}
deliver:
  - table: curated.files
    buffer: {size: 8MiB, interval: 1s}
`)
	landing := filepath.Join(data, "lake", "landing", "files")
	var files []droppedFile
	total := 0
	drop := func() {
		t.Helper()
		f := makeFile(rng, len(files))
		files, total = append(files, f), total+f.lines
		write(filepath.Join(landing, "."+f.name), string(f.text))
		if err := os.Rename(filepath.Join(landing, "."+f.name), filepath.Join(landing, f.name)); err != nil {
			t.Fatal(err)
		}
	}

	for range rounds {
		p := start(t, project, data)
		drop()
		drop()
		if _, err := p.Ready(within(t, 20*time.Second)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(100+rng.IntN(500)) * time.Millisecond)
		select {
		case <-p.Exited():
			t.Fatalf("the server died by itself\n%s", p.Log())
		default:
		}
		p.Kill()
	}

	p, c := startReady(t, project, data)
	done := func() (n int) {
		for _, f := range files {
			if _, err := os.Stat(filepath.Join(landing, "done", f.name)); err == nil {
				n++
			}
		}
		return n
	}
	for deadline := time.Now().Add(60 * time.Second); done() < len(files); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d files are in done/\n%s", done(), len(files), p.Log())
		}
	}
	counts, _, err := c.Settled(within(t, 60*time.Second), "files", int64(total), 20*time.Millisecond)
	if err != nil {
		t.Errorf("%v\n%s", err, p.Log())
	}
	t.Logf("%d files, %d records, %+v", len(files), total, counts)
	rows, err := c.Rows(within(t, 60*time.Second), `SELECT _file, count(*), count(DISTINCT _line), count(DISTINCT "row"), count(DISTINCT _file_hash), min("file"), max("file")
		FROM curated.files GROUP BY _file`)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string][]string{}
	for _, r := range rows {
		found[r[0]] = r[1:]
	}
	for i, f := range files {
		n, id := fmt.Sprint(f.lines), fmt.Sprint(i)
		if got := fmt.Sprint(found[f.name]); f.lines > 0 && got != fmt.Sprint([]string{n, n, n, "1", id, id}) {
			t.Errorf("%s has %s good lines; rows, distinct lines, rows, hashes, and files are %s", f.name, n, got)
		}
	}
	if int64(total) != counts.Accepted || counts.Failed != 0 {
		t.Errorf("%d records were dropped, %+v", total, counts)
	}
	verify(t, c.Base)
}
