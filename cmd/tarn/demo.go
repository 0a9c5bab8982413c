package main

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/tarn-data/tarn/cmd/tarn/internal/client"
	"github.com/tarn-data/tarn/cmd/tarn/internal/screen"
	"github.com/tarn-data/tarn/engine"
	"github.com/tarn-data/tarn/examples"
	"github.com/tarn-data/tarn/server"
)

// demoFlags are the flags of tarn demo.
type demoFlags struct {
	runFlags
	events int64
	rate   float64
	exit   bool
}

// demoSummary is what tarn demo --json prints.
type demoSummary struct {
	Accepted        uint64  `json:"accepted"`
	Committed       uint64  `json:"committed"`
	Failed          uint64  `json:"failed"`
	Pending         uint64  `json:"pending"`
	EventsPerSecond float64 `json:"events_per_second"`
	Address         string  `json:"address"`
	DataDir         string  `json:"data_dir"`
}

func (a *app) demoCommand() *cobra.Command {
	var f demoFlags
	c := a.jsonFlag(&cobra.Command{
		Use:   "demo [DIR]",
		Short: "A lake with data: a fleet of railway wagons that sends telemetry",
		Long: `Writes the example project into DIR (default: tarn-demo), runs it, and posts telemetry of 2,000
railway wagons to it. Without --exit it stays up for you to look around. What DIR holds from an
earlier demo is kept and added to.`,
		Example: `  tarn demo
  tarn demo --events 1000000 --rate 0 --exit
  tarn demo /tmp/lake --events 10000 --exit --json`,
		Args: args(0, 1, "at most one folder"),
		RunE: func(c *cobra.Command, args []string) error {
			dir := "tarn-demo"
			if len(args) == 1 {
				dir = args[0]
			}
			if f.events < 0 || f.rate < 0 {
				return usage(c, "--events and --rate must not be negative")
			}
			if f.events == 0 && f.exit {
				f.events = 100_000
			}
			return a.demo(c, dir, f)
		},
	})
	f.add(c)
	c.Flags().Int64Var(&f.events, "events", 0, "how many events to send; 0 sends until stopped (with --exit: 100000)")
	c.Flags().Float64Var(&f.rate, "rate", 5000, "events per second; 0 sends as fast as possible")
	c.Flags().BoolVar(&f.exit, "exit", false, "wait until all events are committed, print a summary and exit")
	if l := c.Flags().Lookup("log-level"); l != nil {
		l.DefValue = "warn"
		f.logLevel = "warn"
	}
	return c
}

func (a *app) demo(c *cobra.Command, dir string, f demoFlags) error {
	if err := writeExample(dir); err != nil {
		return err
	}
	log, err := a.logger(c, f.runFlags)
	if err != nil {
		return err
	}
	ctx := c.Context()
	e, err := f.start(ctx, dir, log)
	if f.listen == "" && addressTaken(err) {
		f.listen = "127.0.0.1:0" // somebody has 8080; a demo is no reason to stop
		e, err = f.start(ctx, dir, log)
	}
	if err != nil {
		return err
	}
	runErr := a.demoRun(ctx, e, f)
	told := ctx.Err() != nil && !a.json
	if told {
		secondInterruptEnds()
		fmt.Fprint(a.out, "\nStopping: what was accepted is being committed.\n")
	}
	if err := e.Close(); runErr == nil || errors.Is(runErr, context.Canceled) {
		runErr = err
	}
	if told && runErr == nil {
		fmt.Fprintf(a.out, "Stopped. The data stays; go on with it: %s demo %s\n", shellQuote(os.Args[0]), shellQuote(dir))
	}
	return runErr
}

// demoRun sends the load and reports on it.
func (a *app) demoRun(ctx context.Context, e *engine.Engine, f demoFlags) error {
	before, err := e.Status(ctx)
	if err != nil {
		return err
	}
	if !a.json {
		fmt.Fprintf(a.out, "Tarn is running at %s, its data is in %s\n\n", e.Address(), e.DataDir())
	}
	l, err := newLoad(e.Address(), int64(before.Accepted), f.events, f.rate)
	if err != nil {
		return err
	}
	began := time.Now()
	loading, stop := context.WithCancel(ctx)
	sent := make(chan error, 1)
	go func() { sent <- l.run(loading) }()
	err = a.demoWatch(ctx, e, before, began, sent)
	stop()
	if err != nil {
		return err
	}
	if f.exit {
		if err := e.Flush(ctx, ""); err != nil {
			return err
		}
	}
	took := time.Since(began)
	now, err := e.Status(ctx)
	if err != nil {
		return err
	}
	s := demoSummary{Accepted: now.Accepted - before.Accepted, Failed: now.Failed - before.Failed, Pending: now.Pending, Address: e.Address(), DataDir: e.DataDir()}
	s.Committed = s.Accepted - min(s.Accepted, s.Pending)
	s.EventsPerSecond = float64(s.Accepted) / took.Seconds()
	if a.json {
		if err := a.printJSON(s); err != nil {
			return err
		}
	} else if err := a.demoResult(ctx, e, s, took, f.exit); err != nil {
		return err
	}
	if !f.exit {
		<-ctx.Done()
	}
	return nil
}

// demoWatch reports until all events are sent: a first answer as soon as there is one, then counts.
func (a *app) demoWatch(ctx context.Context, e *engine.Engine, before server.StatusDoc, began time.Time, sent <-chan error) error {
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
		if a.json {
			continue
		}
		if !a.answered {
			a.answered = a.demoAnswer(ctx, e) == nil
		}
		if err := a.demoProgress(ctx, e, before, began); err != nil {
			return err
		}
	}
}

// demoResult prints the counts at the end of the load, and the answer if there was none before.
func (a *app) demoResult(ctx context.Context, e *engine.Engine, s demoSummary, took time.Duration, exit bool) error {
	a.endLine()
	if !a.answered {
		if err := a.demoAnswer(ctx, e); err != nil {
			return err
		}
	}
	fmt.Fprintf(a.out, "%s accepted, %s committed, %s pending, %s failed, in %s: %s events/s\n", screen.Count(s.Accepted), screen.Count(s.Committed),
		screen.Count(s.Pending), screen.Count(s.Failed), screen.Took(took), screen.Count(int64(s.EventsPerSecond)))
	if s.Pending > 0 && !exit {
		fmt.Fprintln(a.out, "Pending records are durable and visible to SQL; the next commit puts them into Parquet files.")
	}
	return nil
}

// demoQuestion is asked while its records are still in the hot tail.
const demoQuestion = `SELECT device_id, count(*) AS events,
       round(max(hottest_axle_c), 1) AS hottest_axle_c, max(ts) AS latest
FROM curated.telemetry GROUP BY ALL ORDER BY hottest_axle_c DESC LIMIT 5`

// demoAnswer prints a question and its answer.
func (a *app) demoAnswer(ctx context.Context, e *engine.Engine) error {
	rows, err := ask(ctx, e.Address(), demoQuestion)
	if err != nil {
		return err
	}
	if len(rows) < 2 {
		return errNoRows
	}
	a.endLine()
	fmt.Fprintf(a.out, "The five wagons with the hottest axles, over records that arrived a moment ago:\n\n%s\n\n", demoQuestion)
	var columns []screen.Column
	for i, name := range rows[0] {
		if i == 0 || i == 3 {
			columns = append(columns, left(name))
		} else {
			columns = append(columns, right(name))
		}
	}
	if err := screen.Table(a.out, columns, rows[1:], a.style()); err != nil {
		return err
	}
	fmt.Fprintln(a.out)
	fmt.Fprintln(a.out, "Go on in another terminal:")
	tarn, at := "  "+shellQuote(os.Args[0])+" ", serverFlag(e.Address())
	a.pairs(tarn+"sql"+at, "ask more, interactively", tarn+"verify"+at, "prove that nothing was lost",
		tarn+"streams ls"+at, "the durable log behind the table", tarn+"tables describe curated.telemetry"+at, "its columns and their reasons")
	a.pairs("The Parquet files are in", filepath.Join(e.DataDir(), "lake", "curated", "telemetry"), "Stop with", "Ctrl-C")
	fmt.Fprintln(a.out)
	return nil
}

// ask runs one query over HTTP and returns the names of its columns and its rows.
func ask(ctx context.Context, address, sql string) ([][]string, error) {
	c, err := client.New(address, client.Credentials{})
	if err != nil {
		return nil, err
	}
	body, err := json.Marshal(map[string]string{"sql": sql})
	if err != nil {
		return nil, err
	}
	resp, err := c.Do(ctx, http.MethodPost, "/v1/sql", http.Header{"Content-Type": {"application/json"}, "Accept": {"text/csv"}}, body)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return csv.NewReader(resp.Body).ReadAll()
}

var errNoRows = errors.New("there are no rows yet")

// demoProgress shows the counts on one line that is written over.
func (a *app) demoProgress(ctx context.Context, e *engine.Engine, before server.StatusDoc, began time.Time) error {
	s, err := e.Status(ctx)
	if err != nil {
		return err
	}
	accepted := s.Accepted - before.Accepted
	line := fmt.Sprintf("%s accepted  %s committed  %s pending  %s events/s", screen.Count(accepted), screen.Count(accepted-min(accepted, s.Pending)),
		screen.Count(s.Pending), screen.Count(int64(float64(accepted)/time.Since(began).Seconds())))
	if _, terminal := screen.Terminal(a.out); terminal {
		fmt.Fprintf(a.out, "\r\x1b[K%s", line)
	}
	return nil
}

// endLine leaves the line that demoProgress writes over.
func (a *app) endLine() {
	if _, terminal := screen.Terminal(a.out); terminal {
		fmt.Fprint(a.out, "\r\x1b[K")
	}
}

// addressTaken tells a taken port from a taken data folder, which is no other process's port.
func addressTaken(err error) bool { return errors.Is(err, syscall.EADDRINUSE) }

// writeExample writes the fleet project into dir, leaving files that are there alone.
func writeExample(dir string) error {
	files, err := examples.Fleet()
	if err != nil {
		return err
	}
	return fs.WalkDir(files, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		to := filepath.Join(dir, filepath.FromSlash(path))
		if d.IsDir() {
			return os.MkdirAll(to, 0o755)
		}
		if _, err := os.Stat(to); err == nil {
			return nil
		}
		b, err := fs.ReadFile(files, path)
		if err != nil {
			return err
		}
		return os.WriteFile(to, b, 0o644)
	})
}
