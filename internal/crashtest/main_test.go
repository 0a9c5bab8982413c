package crashtest

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/tarn-data/tarn/internal/child"
)

// binary is the path of the tarn under test, set once by TestMain.
var binary string

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	if testing.Short() {
		fmt.Println("crash tests are skipped in short mode")
		return 0
	}
	if binary = os.Getenv("TARN_BINARY"); binary != "" {
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "tarn-crashtest-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "tarn")
	build := exec.Command("go", "build", "-o", binary, "github.com/tarn-data/tarn/cmd/tarn")
	build.Stdout, build.Stderr = os.Stdout, os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "go build:", err)
		return 1
	}
	return m.Run()
}

// setting reads a number from the environment.
func setting(t *testing.T, name string, otherwise int64) int64 {
	t.Helper()
	s := os.Getenv(name)
	if s == "" {
		return otherwise
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// start starts the server; the test's end kills it.
func start(t *testing.T, project, data string) *child.Process {
	t.Helper()
	p, err := child.Start(child.Options{Binary: binary, Project: project, Data: data})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	return p
}

// startReady starts the server and waits until it is ready.
func startReady(t *testing.T, project, data string) (*child.Process, *child.Client) {
	t.Helper()
	p := start(t, project, data)
	base, err := p.Ready(within(t, 60*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	return p, child.NewClient(base)
}

func newRand(stream int) *rand.Rand { return rand.New(rand.NewPCG(1, uint64(stream))) }

// verify runs tarn verify, which proves I3 from the stores.
func verify(t *testing.T, base string) {
	t.Helper()
	out, err := exec.CommandContext(within(t, 60*time.Second), binary, "verify", "--server", base).CombinedOutput()
	if err != nil {
		t.Errorf("tarn verify: %v\n%s", err, out)
	}
}
