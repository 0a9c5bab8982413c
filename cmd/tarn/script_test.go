package main

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"

	"github.com/tarn-data/tarn/function"
)

func TestMain(m *testing.M) {
	function.Child()
	testscript.Main(m, map[string]func(){"tarn": main})
}

// TestScript runs the journeys in testdata/script, each against processes of this very binary.
// Besides the commands of testscript they may use:
//
//	ready DATA       wait until the server of the data folder is ready, and make it TARN_SERVER
//	eventually CMD   run tarn with these arguments until it succeeds, for at most 20 seconds
func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		UpdateScripts:       os.Getenv("UPDATE") != "",
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"ready": ready, "eventually": eventually,
		},
		Setup: func(e *testscript.Env) error {
			e.Setenv("NO_COLOR", "1")
			e.Setenv("XDG_STATE_HOME", filepath.Join(e.WorkDir, "state"))
			return nil
		},
	})
}

func ready(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: ready DATA")
	}
	file := filepath.Join(ts.MkAbs(args[0]), "address")
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		b, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		address := strings.TrimSpace(string(b))
		resp, err := http.Get(address + "/readyz")
		if err != nil {
			continue
		}
		_ = resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			ts.Setenv("TARN_SERVER", address)
			return
		}
	}
	ts.Fatalf("the server of %s is not ready", args[0])
}

func eventually(ts *testscript.TestScript, neg bool, args []string) {
	var err error
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if err = ts.Exec("tarn", args...); (err == nil) != neg {
			return
		}
	}
	ts.Fatalf("tarn %s: %v", strings.Join(args, " "), err)
}

// TestHelp holds that every command says what it does with an example, and refuses arguments it
// does not take.
func TestHelp(t *testing.T) {
	root := (&app{in: strings.NewReader(""), out: &strings.Builder{}, errOut: &strings.Builder{}}).root()
	var visit func(*cobra.Command)
	visit = func(c *cobra.Command) {
		for _, sub := range c.Commands() {
			if !sub.Hidden && sub.Name() != "help" {
				visit(sub)
			}
		}
		name := strings.TrimPrefix(c.CommandPath(), "tarn ")
		if c.Short == "" || !strings.Contains(c.Example, c.CommandPath()) {
			t.Errorf("%s: short %q, example %q", name, c.Short, c.Example)
		}
		for line := range strings.Lines(c.Long) {
			if len(line) > 110 {
				t.Errorf("%s: a line of the help has %d characters: %s", name, len(line), line)
			}
		}
		if c.Args == nil {
			t.Errorf("%s takes any arguments", name)
		}
	}
	visit(root)
}

// TestExitStatus runs command lines in this process.
func TestExitStatus(t *testing.T) {
	t.Setenv("TARN_SERVER", "127.0.0.1:1")
	for _, c := range []struct {
		args   string
		status int
		says   string
	}{
		{"", 0, "Usage"},
		{"--help", 0, "Usage"},
		{"sql --help", 0, "Examples"},
		{"version", 0, "tarn dev"},
		{"nosuch", 2, `no subcommand "nosuch"`},
		{"steams ls", 2, "did you mean streams?"},
		{"streams", 2, "name a subcommand"},
		{"streams lss", 2, "did you mean ls?"},
		{"streams describe", 2, "the name of one stream"},
		{"version now", 2, "no arguments"},
		{"put", 2, "a stream and any number of files"},
		{"put s --batch 0", 2, "--batch"},
		{"put s --bacth 1", 2, "unknown flag"},
		{"put s no-such-file", 1, "no-such-file: no such file"},
		{"sql a b", 2, "one statement"},
		{"sql x --format xml", 2, "not \"xml\""},
		{"sql x --server ftp://x", 1, "not the address of a server"},
		{"sql x", 1, "no Tarn answers at http://127.0.0.1:1; start one with tarn up"},
		{"failed show x", 2, "not the id"},
		{"completion tcsh", 2, "tcsh"},
		{"completion bash", 0, "tarn"},
		{"schema", 0, "json-schema.org"},
		{"validate /no/such/folder", 1, "does not exist"},
		{"validate /no/such/folder --json", 1, `"valid": false`},
		{"up . extra", 2, "one folder"},
	} {
		t.Run(c.args, func(t *testing.T) {
			var out, errOut strings.Builder
			status := run(strings.Fields(c.args), strings.NewReader(""), &out, &errOut)
			if status != c.status || !strings.Contains(out.String()+errOut.String(), c.says) {
				t.Errorf("status %d\n%s%s\nwant %d %q", status, out.String(), errOut.String(), c.status, c.says)
			}
			if status != 0 && out.String() != "" && !strings.Contains(c.args, "--json") && c.args != "streams" {
				t.Errorf("a failure prints data: %s", out.String())
			}
		})
	}
}
