// Command tarn is the command line of Tarn: it runs a lake (up, demo), checks projects (init,
// validate, plan, schema, test), and talks to a running lake over its HTTP interface (put, sql, streams,
// tables, failed, replay, pipelines, verify).
//
// Arguments, a terminal or a pipe enter; data leaves on standard output, everything else on
// standard error. Exit status: 0 done, 1 failed, 2 wrong usage.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/tarn-data/tarn/function"
)

// version is set by the linker.
var version = "dev"

func main() {
	function.Child() // a worker of a function begins as this program
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run executes one command line and returns the exit status.
func run(args []string, in io.Reader, out, errOut io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	a := &app{in: in, out: out, errOut: errOut}
	root := a.root()
	root.SetArgs(args)
	root.SetContext(ctx)
	return a.exit(ctx, root.Execute())
}
