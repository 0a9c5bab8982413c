package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/cmd/tarn/internal/client"
	"github.com/tarn-data/tarn/cmd/tarn/internal/screen"
)

// app is what every command shares.
type app struct {
	in     io.Reader
	out    io.Writer
	errOut io.Writer

	server string // --server
	token  string // --token
	json   bool   // --json
}

const defaultServer = "http://127.0.0.1:8080"

func (a *app) root() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "tarn",
		Short: "A data lake in one process",
		Long: `Tarn is a data lake in one process: it takes records over HTTP, keeps them in a durable
stream, delivers them exactly once into Iceberg tables, and answers SQL over all of it.`,
		Example: `  tarn demo                          a lake with data, to look around
  tarn init mylake && tarn up mylake a lake of your own
  tarn put telemetry events.ndjson   put a file into a stream
  tarn sql "SELECT count(*) FROM curated.telemetry"`,
		SilenceErrors:     true,
		SilenceUsage:      true,
		Args:              cobra.ArbitraryArgs,
		RunE:              needSubcommand,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
	}
	cmd.SetIn(a.in)
	cmd.SetOut(a.out)
	cmd.SetErr(a.errOut)
	cmd.SetFlagErrorFunc(func(c *cobra.Command, err error) error { return usage(c, "%v", err) })
	cmd.SetHelpCommand(&cobra.Command{Hidden: true, Use: "no-help"})
	cmd.PersistentFlags().SortFlags = false
	cmd.AddCommand(
		a.upCommand(), a.demoCommand(), a.benchCommand(), a.initCommand(), a.validateCommand(), a.testCommand(), a.planCommand(), a.schemaCommand(),
		a.putCommand(), a.runCommand(), a.crawlCommand(), a.sqlCommand(), a.extractCommand(), a.twinCommand(),
		a.streamsCommand(), a.tablesCommand(), a.pipelinesCommand(), a.functionsCommand(), a.failedCommand(), a.replayCommand(), a.verifyCommand(), a.authCommand(),
		a.versionCommand(), completionCommand(),
	)
	return cmd
}

// usageError is wrong use of the command line: exit status 2.
type usageError struct {
	text    string
	command string
}

func (e *usageError) Error() string { return e.text + "; see " + e.command + " --help" }

func usage(c *cobra.Command, format string, args ...any) error {
	return &usageError{fmt.Sprintf(format, args...), c.CommandPath()}
}

// errReported is a failure whose words have been said: exit status 1.
var errReported = errors.New("failed")

// exit prints err as users read it and returns the exit status.
func (a *app) exit(ctx context.Context, err error) int {
	var wrong *usageError
	var known *tarn.Error
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errReported):
		return 1
	case ctx.Err() != nil && (errors.Is(err, context.Canceled) || tarn.CodeOf(err) == tarn.CodeCanceled):
		a.say("interrupted")
		return 1
	case errors.As(err, &wrong):
		a.say(err.Error())
		return 2
	case errors.As(err, &known):
		text := known.Detail
		if known.Hint != "" {
			text += "; " + known.Hint
		}
		a.say(text)
	default:
		a.say(err.Error())
	}
	return 1
}

// say prints one message for the user on standard error.
func (a *app) say(text string) {
	name := "tarn:"
	if a.color(a.errOut) {
		name = "\x1b[31mtarn:\x1b[0m"
	}
	lines := strings.Split(strings.TrimSpace(text), "\n")
	for i, l := range lines {
		lines[i] = screen.Visible(l)
	}
	fmt.Fprintln(a.errOut, name, strings.Join(lines, "\n"))
}

// color reports whether w is a terminal whose user wants colors (no-color.org).
func (a *app) color(w io.Writer) bool {
	_, terminal := screen.Terminal(w)
	return terminal && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

// style is how tables look on standard output.
func (a *app) style() screen.Style {
	width, _ := screen.Terminal(a.out)
	return screen.Style{Width: width, Color: a.color(a.out)}
}

// tell prints a line of prose, broken between its words where the terminal ends.
func (a *app) tell(format string, args ...any) {
	fmt.Fprintln(a.out, screen.Text(screen.Visible(fmt.Sprintf(format, args...)), a.style().Width))
}

// group makes c a command that only groups others.
func group(c *cobra.Command, others ...*cobra.Command) *cobra.Command {
	c.Args, c.RunE = cobra.ArbitraryArgs, needSubcommand
	c.AddCommand(others...)
	return c
}

// needSubcommand is the RunE of commands that only group others.
func needSubcommand(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		if err := c.Help(); err != nil {
			return err
		}
		if c.HasParent() {
			return usage(c, "name a subcommand of %s", c.CommandPath())
		}
		return nil
	}
	text := fmt.Sprintf("%s has no subcommand %q", c.CommandPath(), args[0])
	c.SuggestionsMinimumDistance = 2
	if near := c.SuggestionsFor(args[0]); len(near) > 0 {
		text += "; did you mean " + strings.Join(near, " or ") + "?"
	}
	return usage(c, "%s", text)
}

// args wants between least and most arguments; most < 0 means any number.
func args(least, most int, what string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) < least || most >= 0 && len(args) > most {
			if what == "" {
				return usage(c, "%s takes no arguments, not %q", c.CommandPath(), strings.Join(args, " "))
			}
			return usage(c, "%s takes %s", c.CommandPath(), what)
		}
		return nil
	}
}

// clientFlags adds what every command has that talks to a server and prints data.
func (a *app) clientFlags(c *cobra.Command) *cobra.Command {
	c.Flags().StringVar(&a.server, "server", serverDefault(), "address of the server (environment: TARN_SERVER)")
	c.Flags().StringVar(&a.token, "token", "", "access token (environment: TARN_TOKEN, or TARN_CLIENT_ID and TARN_CLIENT_SECRET)")
	return a.jsonFlag(c)
}

// serverDefault is where commands look for a server that --server does not name.
func serverDefault() string {
	if server := os.Getenv("TARN_SERVER"); server != "" {
		return server
	}
	return defaultServer
}

func (a *app) jsonFlag(c *cobra.Command) *cobra.Command {
	c.Flags().BoolVar(&a.json, "json", false, "print JSON")
	return c
}

func (a *app) client() (*client.Client, error) { return client.New(a.server, a.credentials()) }

// credentials are those of --token and of the environment.
func (a *app) credentials() client.Credentials {
	return client.Credentials{Token: cmp.Or(a.token, os.Getenv("TARN_TOKEN")), ID: os.Getenv("TARN_CLIENT_ID"), Secret: os.Getenv("TARN_CLIENT_SECRET")}
}

// get fetches the document at path. With --json it is printed as it is, and done is true.
func (a *app) get(ctx context.Context, path string, v any) (done bool, err error) {
	c, err := a.client()
	if err != nil {
		return false, err
	}
	var raw json.RawMessage
	if err := c.Get(ctx, path, &raw); err != nil {
		return false, err
	}
	return a.show(raw, v)
}

// show prints a document with --json, and decodes it into v otherwise.
func (a *app) show(raw json.RawMessage, v any) (done bool, err error) {
	if a.json {
		return true, a.printJSON(raw)
	}
	return false, json.Unmarshal(raw, v)
}

func (a *app) printJSON(v any) error {
	raw, ok := v.(json.RawMessage)
	if !ok {
		var err error
		if raw, err = json.Marshal(v); err != nil {
			return err
		}
	}
	var b bytes.Buffer
	if err := json.Indent(&b, raw, "", "  "); err != nil {
		return err
	}
	_, err := fmt.Fprintln(a.out, strings.TrimSpace(b.String()))
	return err
}

// table prints rows, and says what is missing when there are none.
func (a *app) table(cols []screen.Column, rows [][]string, none string) error {
	if len(rows) == 0 {
		fmt.Fprintln(a.errOut, none)
		return nil
	}
	return screen.Table(a.out, cols, rows, a.style())
}

// list is table for rows of which nothing may be cut: on a terminal that is too narrow each is a block,
// headed by its first cells.
func (a *app) list(head int, cols []screen.Column, rows [][]string, none string) error {
	if len(rows) == 0 {
		return a.table(cols, rows, none)
	}
	style := a.style()
	style.Head = head
	return screen.Table(a.out, cols, rows, style)
}

// left and right make columns.
func left(name string) screen.Column  { return screen.Column{Name: name, Align: screen.Left} }
func right(name string) screen.Column { return screen.Column{Name: name, Align: screen.Right} }

// pairs prints names and values, one pair per line; pairs without a value are left out.
func (a *app) pairs(kv ...string) {
	width := 0
	for i := 0; i < len(kv); i += 2 {
		width = max(width, len(kv[i]))
	}
	for i := 0; i < len(kv); i += 2 {
		if kv[i+1] != "" {
			fmt.Fprintf(a.out, "%-*s  %s\n", width, kv[i], screen.Visible(kv[i+1]))
		}
	}
}
