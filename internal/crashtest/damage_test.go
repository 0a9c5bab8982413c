package crashtest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/internal/child"
	"github.com/tarn-data/tarn/server"
)

// TestDamagedLog kills a server, flips a bit in the middle of the newest message file of its log and
// starts it again. The log comes back shorter than what was acknowledged. New records get positions
// behind all earlier ones and are there exactly once; verify names what is lost, at this start and at
// later ones; and a reader is told of the hole.
func TestDamagedLog(t *testing.T) {
	for _, c := range []struct {
		name      string
		record    string // the one that is damaged
		committed bool   // everything was in the table before the log lost it
	}{
		{"pending", "late-00000950", false},
		{"committed", "late-00000950", true},
		{"nothing left", "early-00000000", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			project, data := writeProject(t), t.TempDir()
			p, cl := startReady(t, project, data)
			next := postRun(t, cl, "early", 20)
			flush(t, cl)
			if !c.committed {
				act(t, cl, "pause")
			}
			end := postRun(t, cl, "late", 40)
			if end <= next {
				t.Fatalf("positions %d, then %d", next, end)
			}
			if c.committed {
				flush(t, cl)
			}
			noted(t, data, end)
			p.Kill()
			damage(t, data, c.record)

			p, cl = startReady(t, project, data)
			first, _ := postBatch(t, cl, "new", 0)
			if first < end {
				t.Errorf("position %d is given again; %d had been given", first, end)
			}
			postRun(t, cl, "newer", 10)
			flush(t, cl)

			lost := tailGap(t, cl)
			if lost.Offset >= end {
				t.Fatalf("the hole begins at %v, the records ended at %d", lost, end)
			}
			hole := fmt.Sprintf("%v to %v", lost, tarn.Position{Offset: end - 1})
			if !c.committed { // to the table, less is lost
				hole = fmt.Sprintf("%v to %v", tarn.Position{Offset: max(lost.Offset, next)}, tarn.Position{Offset: end - 1})
			}
			for _, later := range []bool{false, true} {
				if later {
					if err := p.Stop(within(t, 30*time.Second)); err != nil {
						t.Fatal(err)
					}
					p, cl = startReady(t, project, data)
				}
				doc, code := verifyDoc(t, cl.Base)
				var a server.VerifyAccount
				for _, x := range doc.Accounts {
					if x.Stream == "events" {
						a = x
					}
				}
				if sum := a.InTable + a.Dropped + a.Failed + a.Pending + a.Expired + a.Lost; sum != a.Accepted || a.Pending+a.Failed+a.Expired+a.Dropped > 0 {
					t.Errorf("the account does not add up: %+v", a)
				}
				said := fmt.Sprint(doc.Problems)
				if c.committed {
					if said = fmt.Sprint(doc.Notes); code != 0 || a.Lost != 0 {
						t.Errorf("the table has everything, verify exits %d with %+v %v", code, a, doc.Problems)
					}
				} else if code != 1 || a.Lost != end-max(lost.Offset, next) {
					t.Errorf("verify exits %d with %+v, lost is %s", code, a, hole)
				}
				if !strings.Contains(said, hole) {
					t.Errorf("verify does not name %s: %s", hole, said)
				}
				twice, err := cl.Rows(within(t, 20*time.Second), "SELECT id FROM curated.events GROUP BY id HAVING count(*) > 1")
				if err != nil || len(twice) > 0 {
					t.Errorf("%d ids are there twice: %v", len(twice), err)
				}
				got, err := cl.Rows(within(t, 20*time.Second), "SELECT producer, count(*) FROM curated.events WHERE producer LIKE 'new%' GROUP BY ALL ORDER BY ALL")
				if want := fmt.Sprintf("[[new %d] [newer %d]]", perBatch, 10*perBatch); err != nil || fmt.Sprint(got) != want {
					t.Errorf("new records: %v %v, want %s", got, err, want)
				}
			}
			if doc, code := verifyDoc(t, cl.Base, "--accept-loss", "a test"); code != 0 || !c.committed && !strings.Contains(fmt.Sprint(doc.Notes), "accepted that on") {
				t.Errorf("the loss is accepted, verify exits %d: %+v", code, doc)
			}
			if _, code := verifyDoc(t, cl.Base); code != 0 {
				t.Errorf("and exits %d later", code)
			}
		})
	}
}

const perBatch = 50

// postRun posts batches one after the other and returns the offset after the last record.
func postRun(t *testing.T, c *child.Client, producer string, batches int) (next uint64) {
	t.Helper()
	for i := range batches {
		_, next = postBatch(t, c, producer, i)
	}
	return next
}

// postBatch posts one batch and returns the offsets of its first record and after its last.
func postBatch(t *testing.T, c *child.Client, producer string, i int) (first, next uint64) {
	t.Helper()
	var body []byte
	for n := range perBatch {
		body = appendRecord(body, "events", producer, i*perBatch+n, 0, newRand(i))
	}
	b, err := c.Do(within(t, 20*time.Second), http.MethodPost, "/v1/streams/events/records", map[string]string{"Content-Type": "application/x-ndjson"}, body)
	var a answer
	if err == nil {
		err = json.Unmarshal(b, &a)
	}
	if err != nil || a.Accepted != perBatch {
		t.Fatalf("%s %v", b, err)
	}
	return a.First.Offset, a.Last.Offset + 1
}

func act(t *testing.T, c *child.Client, action string) {
	t.Helper()
	if err := c.Act(within(t, 30*time.Second), "events", action); err != nil {
		t.Fatal(err)
	}
}

func flush(t *testing.T, c *child.Client) {
	t.Helper()
	act(t, c, "flush")
}

// noted waits until the end of the stream is noted outside its log.
func noted(t *testing.T, data string, end uint64) {
	t.Helper()
	path, want := filepath.Join(data, "meta", "marks.json"), fmt.Sprintf(`{"stream":"events","shard":0,"next":%d}`, end)
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		text, err := os.ReadFile(path)
		if strings.Contains(string(text), want) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %s %v", path, text, err)
		}
	}
}

// damage flips a bit of a record in the message file that holds it.
func damage(t *testing.T, data, record string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(data, "streams", "jetstream", "*", "streams", "tarn_events_0", "msgs", "*.blk"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(text, []byte(`"id":"`+record+`"`))
	if at < 0 {
		t.Fatalf("%s does not hold record %s", files[0], record)
	}
	text[at+8] ^= 0x80
	if err := os.WriteFile(files[0], text, 0o644); err != nil {
		t.Fatal(err)
	}
}

// tailGap reads the stream and returns the position at which it is told of records that are gone.
func tailGap(t *testing.T, c *child.Client) tarn.Position {
	t.Helper()
	b, err := c.Do(within(t, 20*time.Second), http.MethodGet, "/v1/streams/events/records?from=0:0&limit=0", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	var gaps []server.TailDoc
	for line := range bytes.Lines(b) {
		var d server.TailDoc
		if err := json.Unmarshal(line, &d); err != nil {
			t.Fatal(err)
		}
		if d.Damaged != "" {
			gaps = append(gaps, d)
		}
	}
	if len(gaps) != 1 {
		t.Fatalf("the tail tells of %d holes: %+v", len(gaps), gaps)
	}
	out, err := exec.CommandContext(within(t, 20*time.Second), binary, "streams", "tail", "events", "--from", "0:0", "--limit", "0", "--server", c.Base).CombinedOutput()
	if want := fmt.Sprintf("%v  from here on %s", gaps[0].Position, gaps[0].Damaged); err != nil || !strings.Contains(string(out), want) {
		t.Errorf("tarn streams tail: %v, and does not say %q", err, want)
	}
	return gaps[0].Position
}

// verifyDoc runs tarn verify --json and returns what it prints and its exit status.
func verifyDoc(t *testing.T, base string, flags ...string) (server.VerifyDoc, int) {
	t.Helper()
	cmd := exec.CommandContext(within(t, 60*time.Second), binary, append([]string{"verify", "--json", "--server", base}, flags...)...)
	out, err := cmd.Output()
	var doc server.VerifyDoc
	if e := json.Unmarshal(out, &doc); e != nil {
		t.Fatalf("%v %v: %s", err, e, out)
	}
	return doc, cmd.ProcessState.ExitCode()
}
