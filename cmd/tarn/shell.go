package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/peterh/liner"

	"github.com/tarn-data/tarn/cmd/tarn/internal/sqltext"
	"github.com/tarn-data/tarn/server"
)

const shellHelp = `A statement may take several lines and ends with a semicolon.
  \d            list tables, those of the system too
  \d TABLE      columns of a table
  \dt           tables with their sizes
  \timing       say how long statements take, or stop saying it
  \format NAME  table, json, ndjson or csv
  \at TIME      read the tables as of a time or snapshot id; \at alone: as of now
  \?            this help
  \q            leave (also Ctrl-D)
Ctrl-C ends a statement that runs, and drops one that is being typed.
`

// errQuit ends the shell.
var errQuit = errors.New("quit")

// shell reads statements from the terminal until the user leaves.
func (q *asker) shell(ctx context.Context) error {
	cl, err := q.app.client()
	if err != nil {
		return err
	}
	var status server.StatusDoc
	if err := cl.Get(ctx, "/v1/status", &status); err != nil {
		return err
	}
	fmt.Fprintf(q.app.out, "Tarn %s at %s, project %s. \\? for help.\n", status.Version, cl.Address(), status.Project)
	q.timing = true
	ctx = context.WithoutCancel(ctx) // Ctrl-C ends statements, not the shell
	line := liner.NewLiner()
	defer line.Close()
	defer leaveOnSIGTERM(line)()
	line.SetCtrlCAborts(true)
	line.SetMultiLineMode(true)
	line.SetTabCompletionStyle(liner.TabPrints)
	line.SetWordCompleter(q.completer(ctx))
	defer keepHistory(line)()

	var typed strings.Builder
	for {
		prompt := "tarn> "
		if typed.Len() > 0 {
			prompt = "  ... "
		}
		text, err := line.Prompt(prompt)
		switch {
		case errors.Is(err, liner.ErrPromptAborted):
			typed.Reset()
			continue
		case errors.Is(err, io.EOF):
			fmt.Fprintln(q.app.out)
			return nil
		case err != nil:
			return err
		}
		if typed.Len() == 0 && strings.HasPrefix(strings.TrimSpace(text), `\`) {
			line.AppendHistory(strings.TrimSpace(text))
			if errors.Is(q.command(ctx, strings.Fields(text)), errQuit) {
				return nil
			}
			continue
		}
		typed.WriteString(text + "\n")
		statements, rest, open := sqltext.Split(typed.String())
		if len(statements) == 0 && !open && sqltext.Blank(rest) {
			typed.Reset()
			continue
		}
		for _, s := range statements {
			line.AppendHistory(strings.ReplaceAll(s, "\n", " ") + ";")
			q.answer(ctx, s)
		}
		if len(statements) > 0 {
			typed.Reset()
			if open || !sqltext.Blank(rest) {
				typed.WriteString(rest)
			}
		}
	}
}

// leaveOnSIGTERM gives the terminal back before the process ends. It works until the returned
// function is called.
func leaveOnSIGTERM(line *liner.State) func() {
	signals, done := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(signals, syscall.SIGTERM)
	go func() {
		select {
		case <-signals:
			_ = line.Close() // Prompt cannot be interrupted
			os.Exit(1)
		case <-done:
		}
	}()
	return func() {
		signal.Stop(signals)
		close(done)
	}
}

// answer runs one statement; Ctrl-C ends it and not the shell.
func (q *asker) answer(ctx context.Context, statement string) {
	ctx, stop := signal.NotifyContext(context.WithoutCancel(ctx), os.Interrupt)
	defer stop()
	if err := q.run(ctx, statement); err != nil {
		q.app.exit(ctx, err)
	}
}

// command runs a backslash command.
func (q *asker) command(ctx context.Context, words []string) error {
	arg := strings.Join(words[1:], " ")
	switch words[0] {
	case `\q`, `\quit`, `\exit`:
		return errQuit
	case `\?`, `\h`, `\help`:
		fmt.Fprint(q.app.out, shellHelp)
	case `\d`:
		statement := "SHOW TABLES"
		if arg != "" {
			statement = "SELECT column_name, column_type FROM (DESCRIBE " + strings.TrimSuffix(arg, ";") + ")"
		}
		q.answer(ctx, statement)
	case `\dt`:
		if err := q.app.tablesLs(ctx); err != nil {
			q.app.exit(ctx, err)
		}
	case `\timing`:
		q.timing = !q.timing
		fmt.Fprintf(q.app.out, "timing is %s\n", map[bool]string{true: "on", false: "off"}[q.timing])
	case `\format`:
		switch arg {
		case "table", "json", "ndjson", "csv":
			q.format = arg
		default:
			q.app.say(`\format takes table, json, ndjson or csv`)
		}
	case `\at`:
		q.at = arg
	default:
		q.app.say("there is no command " + words[0] + `; \? lists them`)
	}
	return nil
}

// completer completes the word before the cursor with key words and names of tables and columns.
// The names are asked for once, when they are first wanted.
func (q *asker) completer(ctx context.Context) liner.WordCompleter {
	words := strings.Fields("SELECT FROM WHERE GROUP ORDER BY ALL HAVING QUALIFY LIMIT OFFSET JOIN LEFT USING UNION WITH AS DISTINCT " +
		"count( sum( avg( min( max( median( date_trunc( EXPLAIN DESCRIBE SHOW TABLES AND OR NOT NULL BETWEEN INTERVAL TIMESTAMP")
	asked := false
	return func(text string, pos int) (head string, completions []string, tail string) {
		if !asked {
			asked = true
			words = append(words, q.names(ctx)...)
		}
		runes := []rune(text)
		start := pos
		for start > 0 && !strings.ContainsRune(" \t,()=<>;'\"", runes[start-1]) {
			start--
		}
		prefix := string(runes[start:pos])
		if prefix != "" {
			for _, w := range words {
				if len(w) >= len(prefix) && strings.EqualFold(w[:len(prefix)], prefix) {
					completions = append(completions, w)
				}
			}
		}
		return string(runes[:start]), completions, string(runes[pos:])
	}
}

// names returns the tables and columns there are; none when the server does not answer.
func (q *asker) names(ctx context.Context) []string {
	ask := asker{app: q.app, format: "table"}
	resp, err := ask.ask(ctx, "SELECT DISTINCT n FROM (SELECT table_name AS n FROM system.columns UNION ALL SELECT name FROM system.columns) ORDER BY n LIMIT 5000")
	if err != nil {
		return nil
	}
	defer resp.Body.Close()
	var names []string
	_, _ = readResult(resp.Body, func(row []string) { names = append(names, row[0]) }) // completion is a help, not a duty
	return names
}

// keepHistory loads the history of earlier shells, and returns what saves it.
func keepHistory(line *liner.State) func() {
	path := historyFile()
	if path == "" {
		return func() {}
	}
	if f, err := os.Open(path); err == nil {
		_, _ = line.ReadHistory(f) // a broken history is not worth a word
		_ = f.Close()
	}
	return func() {
		if os.MkdirAll(filepath.Dir(path), 0o700) != nil {
			return
		}
		f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
		if err != nil {
			return
		}
		_, _ = line.WriteHistory(f)
		_ = f.Close()
	}
}

// historyFile is $XDG_STATE_HOME/tarn/history, "" when there is no home.
func historyFile() string {
	state := os.Getenv("XDG_STATE_HOME")
	if state == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return ""
		}
		state = filepath.Join(home, ".local", "state")
	}
	return filepath.Join(state, "tarn", "history")
}
