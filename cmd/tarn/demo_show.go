package main

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/tarn-data/tarn/cmd/tarn/internal/client"
	"github.com/tarn-data/tarn/cmd/tarn/internal/screen"
	"github.com/tarn-data/tarn/engine"
	"github.com/tarn-data/tarn/server"
)

// demo is what a running demo shows.
type demo struct {
	*app
	engine   *engine.Engine
	client   *client.Client
	dir      string
	guarded  bool // the project asks for tokens
	before   telemetryCount
	began    time.Time
	answered bool // the first answer was shown
}

// telemetryCount counts the records of the wagons; what other pipelines and the extracts add is left out.
type telemetryCount struct{ accepted, pending, failed uint64 }

func countTelemetry(ctx context.Context, e *engine.Engine) (n telemetryCount, err error) {
	pipelines, err := e.Pipelines(ctx) // first, so that no more is committed than accepted
	if err != nil {
		return n, err
	}
	streams, err := e.Streams(ctx)
	if err != nil {
		return n, err
	}
	for _, s := range streams {
		if s.Name == loadStream {
			n.accepted = s.Accepted
		}
	}
	for _, p := range pipelines {
		if p.Stream != loadStream {
			continue
		}
		for _, d := range p.Deliveries { // not LagRecords: what was accepted since it was read would count as committed
			n.pending = max(n.pending, n.accepted-min(n.accepted, d.Records))
			n.failed += d.Failed
		}
	}
	return n, nil
}

// summary counts what came since the demo began.
func (d *demo) summary(ctx context.Context) (demoSummary, error) {
	now, err := countTelemetry(ctx, d.engine)
	s := demoSummary{Accepted: now.accepted - d.before.accepted, Failed: now.failed - d.before.failed, Pending: now.pending, Address: d.engine.Address(), DataDir: d.engine.DataDir()}
	s.Committed = s.Accepted - min(s.Accepted, s.Pending)
	s.EventsPerSecond = float64(s.Accepted) / time.Since(d.began).Seconds()
	return s, err
}

// watch reports until all events are sent: a first answer as soon as there is one, then counts.
func (d *demo) watch(ctx context.Context, sent <-chan error) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case err := <-sent:
			return err
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		if d.json {
			continue
		}
		if !d.answered {
			d.answered = d.answer(ctx) == nil
		}
		if err := d.progress(ctx); err != nil {
			return err
		}
	}
}

// finish prints the counts at the end of the load, and the answer if there was none before. With exit
// everything is committed first.
func (d *demo) finish(ctx context.Context, exit bool) error {
	if exit {
		if err := d.engine.Flush(ctx, ""); err != nil {
			return err
		}
	}
	s, err := d.summary(ctx)
	if err != nil {
		return err
	}
	if d.json {
		return d.printJSON(s)
	}
	took := time.Since(d.began)
	d.endLine()
	if !d.answered {
		if err := d.answer(ctx); err != nil {
			return err
		}
	}
	fmt.Fprintf(d.out, "%s accepted, %s committed, %s pending, %s failed, in %s: %s events/s\n", screen.Count(s.Accepted), screen.Count(s.Committed),
		screen.Count(s.Pending), screen.Count(s.Failed), screen.Took(took), screen.Count(int64(s.EventsPerSecond)))
	if s.Pending > 0 && !exit {
		fmt.Fprintln(d.out, "Pending records are durable and visible to SQL; the next commit puts them into Parquet files.")
	}
	return nil
}

// demoQuestion is asked while its records are still in the hot tail.
const demoQuestion = `SELECT device_id, count(*) AS events,
       round(max(hottest_axle_c), 1) AS hottest_axle_c, max(ts) AS latest
FROM curated.telemetry GROUP BY ALL ORDER BY hottest_axle_c DESC LIMIT 5`

// answer prints a question and its answer, what the twin knows of the first wagon in it, and where to go on.
func (d *demo) answer(ctx context.Context) error {
	rows, err := d.ask(ctx, demoQuestion)
	if err != nil {
		return err
	}
	if len(rows) < 2 {
		return errNoRows
	}
	wagon := rows[1][0]
	var twin server.ComponentDoc
	if err := d.client.Get(ctx, twinURL(demoTwin, "components", wagon), &twin); err != nil {
		return err
	}
	d.endLine()
	fmt.Fprintf(d.out, "The five wagons with the hottest axles, over records that arrived a moment ago:\n\n%s\n\n", demoQuestion)
	columns := []screen.Column{left(rows[0][0]), right(rows[0][1]), right(rows[0][2]), left(rows[0][3])}
	if err := screen.Table(d.out, columns, rows[1:], d.style()); err != nil {
		return err
	}
	fmt.Fprintf(d.out, "\nThe twin of %s, which continuous SQL keeps up to date:\n\n", wagon)
	if err := screen.Table(d.out, []screen.Column{left("METRIC"), right("VALUE"), left("UNIT"), right("AGE")}, twinRows(twin), d.style()); err != nil {
		return err
	}
	d.goOn(wagon)
	return nil
}

// demoTwin is the twin of the example.
const demoTwin = "fleet"

func twinRows(c server.ComponentDoc) [][]string {
	var rows [][]string
	for _, m := range c.Metrics {
		rows = append(rows, []string{m.Metric, plainValue(m), m.Unit, age(m.AgeSeconds)})
	}
	return rows
}

// goOn says what to try next.
func (d *demo) goOn(wagon string) {
	tarn, at := "  "+shellQuote(os.Args[0])+" ", serverFlag(d.engine.Address())
	fmt.Fprintln(d.out)
	fmt.Fprintln(d.out, "Go on in another terminal:")
	if d.guarded {
		fmt.Fprintf(d.out, "%sauth clients add me --scope admin --project %s\n", tarn, shellQuote(d.dir))
		fmt.Fprintln(d.out, "  export TARN_CLIENT_ID=me TARN_CLIENT_SECRET=…   # what it prints: this lake asks for tokens")
	}
	commands := []string{
		"sql", "ask more",
		"twin get " + demoTwin + " " + wagon, "the newest values",
		"twin watch " + demoTwin + " --component " + wagon, "changes as they happen",
		"twin ls " + demoTwin + " --type depot", "depots: another pipeline",
		"extract ls", "the SQL in between",
		"streams ls", "the logs behind all of it",
		"verify", "proof that nothing is lost",
	}
	for i := 0; i < len(commands); i += 2 {
		commands[i] = tarn + commands[i] + at
	}
	d.comments(commands...)
	fmt.Fprintln(d.out)
	d.pairs("The twin over HTTP", d.engine.Address()+twinURL(demoTwin, "components", wagon),
		"The Parquet files", filepath.Join(d.engine.DataDir(), "lake", "curated", loadStream), "Stop with", "Ctrl-C")
	fmt.Fprintln(d.out)
}

// comments prints commands with what they do; above them, where a line would be too long for the terminal.
func (d *demo) comments(kv ...string) {
	width, _ := screen.Terminal(d.out)
	command, comment := 0, 0
	for i := 0; i < len(kv); i += 2 {
		command, comment = max(command, len(kv[i])), max(comment, len(kv[i+1]))
	}
	for i := 0; i < len(kv); i += 2 {
		if width > 0 && command+4+comment > width {
			fmt.Fprintf(d.out, "  # %s\n%s\n", kv[i+1], kv[i])
		} else {
			fmt.Fprintf(d.out, "%s%s  # %s\n", kv[i], strings.Repeat(" ", command-len(kv[i])), kv[i+1])
		}
	}
}

// ask runs one query over HTTP and returns the names of its columns and its rows.
func (d *demo) ask(ctx context.Context, sql string) ([][]string, error) {
	body, err := json.Marshal(map[string]string{"sql": sql})
	if err != nil {
		return nil, err
	}
	resp, err := d.client.Do(ctx, http.MethodPost, "/v1/sql", http.Header{"Content-Type": {"application/json"}, "Accept": {"text/csv"}}, body)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return csv.NewReader(resp.Body).ReadAll()
}

var errNoRows = errors.New("there are no rows yet")

// progress shows the counts on one line that is written over.
func (d *demo) progress(ctx context.Context) error {
	s, err := d.summary(ctx)
	if err != nil {
		return err
	}
	if _, terminal := screen.Terminal(d.out); terminal {
		fmt.Fprintf(d.out, "\r\x1b[K%s accepted  %s committed  %s pending  %s events/s", screen.Count(s.Accepted), screen.Count(s.Committed),
			screen.Count(s.Pending), screen.Count(int64(s.EventsPerSecond)))
	}
	return nil
}

// endLine leaves the line that progress writes over.
func (d *demo) endLine() {
	if _, terminal := screen.Terminal(d.out); terminal {
		fmt.Fprint(d.out, "\r\x1b[K")
	}
}
