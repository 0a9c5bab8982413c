package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tarn-data/tarn/duck"
)

// TestReadmeWalk does what the README tells a reader to do, word for word: the sh blocks of the walk
// run in one bash, in order, and must print the text blocks below them. The walk says 127.0.0.1:8080;
// the environment leads tarn and curl to a free port instead, and the project of the example, of
// which this is a copy, listens there.
func TestReadmeWalk(t *testing.T) {
	walk(t, "README.md", "earthquakes", ".")
}

// TestWorkshopWalk does the same with the page of the example workshop, in its folder.
func TestWorkshopWalk(t *testing.T) {
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip("the function of the workshop needs python3")
	}
	walk(t, "examples/workshop/README.md", "workshop", "examples/workshop")
}

// TestSecureWalk does the same with the page about who may call.
func TestSecureWalk(t *testing.T) {
	walk(t, "docs/howto/secure.md", "earthquakes", "examples/earthquakes")
}

// TestCrawlWalk does the same with the page about crawlers.
func TestCrawlWalk(t *testing.T) {
	walk(t, "docs/howto/crawl.md", "earthquakes", "examples/earthquakes")
}

// TestFleetWalk does the same with the page of the fleet: two pipelines, their extracts and a twin, asked with
// tokens.
func TestFleetWalk(t *testing.T) {
	walk(t, "examples/fleet/README.md", "fleet", "examples/fleet")
}

// walk runs the walk of a page, which starts the example of that name, in a folder of the copy.
func walk(t *testing.T, page, example, folder string) {
	t.Helper()
	if testing.Short() {
		t.Skip("takes as long as three commits")
	}
	for _, tool := range []string{"bash", "curl"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("the walk needs %s", tool)
		}
	}
	text, err := os.ReadFile(filepath.Join(repository, page))
	if err != nil {
		t.Fatal(err)
	}
	_, after, begins := strings.Cut(string(text), "<!-- walk:")
	body, _, ends := strings.Cut(after, "<!-- walk ends -->")
	if !begins || !ends {
		t.Fatalf("%s has no walk", page)
	}
	first := strings.Count(string(text[:len(text)-len(after)]), "\n")

	dir, port := t.TempDir(), freePort(t)
	copyExamples(t, filepath.Join(dir, "examples"))
	project, err := os.OpenFile(filepath.Join(dir, "examples", example, "tarn.yaml"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(project, "server:\n  listen: 127.0.0.1:%d\n", port)
	if err := project.Close(); err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	curlrc := fmt.Sprintf("connect-to = \"127.0.0.1:8080:127.0.0.1:%d\"\n", port)
	if err := os.WriteFile(filepath.Join(home, ".curlrc"), []byte(curlrc), 0o644); err != nil {
		t.Fatal(err)
	}
	sh := startShell(t, filepath.Join(dir, folder), fmt.Sprintf("TARN_SERVER=http://127.0.0.1:%d", port), "CURL_HOME="+home, "HOME="+home, "NO_PROXY=*", "NO_COLOR=1", "LC_ALL=C")

	all := fences(body)
	for i, b := range all {
		if b.info != "sh" {
			continue
		}
		want := ""
		if i+1 < len(all) && all[i+1].info == "text" {
			want = all[i+1].text
		}
		run := func() (string, error) { return sh.run(b.text) }
		if statement, ok := duckStatement(b.text); ok {
			run = func() (string, error) { return runDuck(t, dir, statement) }
		}
		for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(100 * time.Millisecond) {
			got, err := run()
			if err == nil && matches(want, got) {
				break
			}
			if !b.repeat || time.Now().After(deadline) || sh.ended() {
				t.Fatalf("%s:%d: %v\n%s\n(-page +now):\n%s\nstandard error:\n%s", page, first+b.line, err, b.text, cmp.Diff(lines(want), lines(got)), sh.stderr())
			}
		}
	}
}

func lines(s string) []string {
	all := strings.Split(strings.TrimRight(s, " \n"), "\n")
	for i := range all {
		all[i] = strings.TrimRight(all[i], " ")
	}
	return all
}

// matches compares line by line without blanks at the ends; … in want stands for anything within a
// line, but not for nothing.
func matches(want, got string) bool {
	w, g := lines(want), lines(got)
	if len(w) != len(g) {
		return false
	}
	for i := range w {
		pattern := strings.ReplaceAll(regexp.QuoteMeta(w[i]), "…", ".+")
		if ok, err := regexp.MatchString("^"+pattern+"$", g[i]); err != nil || !ok {
			return false
		}
	}
	return true
}

var duckCommand = regexp.MustCompile(`(?s)^duckdb -csv -c "([^"]*)"\n$`)

// duckStatement returns the statement of a block that calls DuckDB's own command line.
func duckStatement(text string) (string, bool) {
	m := duckCommand.FindStringSubmatch(text)
	if m == nil {
		return "", false
	}
	return m[1], true
}

// runDuck answers such a statement with the DuckDB that Tarn links, in the folder of the walk.
func runDuck(t *testing.T, dir, statement string) (string, error) {
	t.Helper()
	t.Chdir(dir)
	db, err := duck.Open(duck.Options{AllowedDirs: []string{dir}})
	if err != nil {
		return "", err
	}
	defer db.Close()
	columns, err := db.Describe(t.Context(), statement)
	if err != nil {
		return "", err
	}
	rows, err := db.Values(t.Context(), statement)
	if err != nil {
		return "", err
	}
	var out strings.Builder
	for i, c := range columns {
		if i > 0 {
			out.WriteByte(',')
		}
		out.WriteString(c.Name)
	}
	for _, row := range rows {
		for i, v := range row {
			out.WriteByte(",\n"[btoi(i == 0)])
			fmt.Fprint(&out, v)
		}
	}
	return out.String(), nil
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// copyExamples copies the examples without the data folders of whoever ran them.
func copyExamples(t *testing.T, to string) {
	t.Helper()
	from := filepath.Join(repository, "examples")
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		switch {
		case d.Name() == ".tarn":
			return fs.SkipDir
		case d.IsDir():
			return os.MkdirAll(filepath.Join(to, rel), 0o755)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, rel), b, 0o644)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// shell is a running bash.
type shell struct {
	dir    string // of the files with its commands
	group  int    // of its processes
	in     io.Writer
	out    *bufio.Reader
	errs   string // file
	exited chan struct{}
	blocks int
}

// startShell runs bash with tarn on its path. It and what it started are killed with the test.
func startShell(t *testing.T, dir string, env ...string) *shell {
	t.Helper()
	s := &shell{dir: t.TempDir(), exited: make(chan struct{})}
	s.errs = filepath.Join(s.dir, "stderr")
	errs, err := os.Create(s.errs)
	if err != nil {
		t.Fatal(err)
	}
	defer errs.Close()
	cmd := exec.Command("bash", "--noprofile", "--norc", "-s")
	cmd.Dir, cmd.Env, cmd.Stderr = dir, append(os.Environ(), env...), errs
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, outEnd, err := os.Pipe() // not StdoutPipe: servers in the background hold it too
	if err != nil {
		t.Fatal(err)
	}
	defer outEnd.Close()
	cmd.Stdout = outEnd
	if s.in, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	s.out = bufio.NewReader(out)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { _ = cmd.Wait(); close(s.exited) }()
	s.group = cmd.Process.Pid
	t.Cleanup(func() {
		s.kill()
		<-s.exited
		_, _ = io.Copy(io.Discard, s.out) // ends with the last of the group
		_ = out.Close()
	})
	return s
}

func (s *shell) kill() { _ = syscall.Kill(-s.group, syscall.SIGKILL) }

const (
	blockEnd  = "end of block, status "
	blockTime = time.Minute // after which a block is ended, and the shell with it
)

// run runs a block and returns what it printed.
func (s *shell) run(text string) (string, error) {
	s.blocks++
	file := filepath.Join(s.dir, fmt.Sprintf("block-%d.sh", s.blocks))
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		return "", err
	}
	if _, err := fmt.Fprintf(s.in, ". '%s' </dev/null; printf '\\n%s%%d\\n' $?\n", file, blockEnd); err != nil {
		return "", err
	}
	defer time.AfterFunc(blockTime, s.kill).Stop()
	var out bytes.Buffer
	for {
		line, err := s.out.ReadString('\n')
		if status, ok := strings.CutPrefix(strings.TrimSpace(line), blockEnd); ok {
			if status != "0" {
				return out.String(), fmt.Errorf("exit status %s", status)
			}
			return out.String(), nil
		}
		out.WriteString(line)
		if err != nil {
			return out.String(), err
		}
	}
}

func (s *shell) ended() bool {
	select {
	case <-s.exited:
		return true
	default:
		return false
	}
}

func (s *shell) stderr() string {
	b, _ := os.ReadFile(s.errs)
	return string(b)
}
