//go:build !linux

package function

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
)

// launcher starts the workers of one pool, without isolation: that is written for Linux.
type launcher struct {
	spec      Spec
	dir       string
	with      interpreter
	isolation Isolation
	count     atomic.Int64
}

func becomeWorker() { os.Exit(125) }

func newLauncher(ctx context.Context, spec Spec, dir string) (*launcher, error) {
	l := &launcher{spec: spec, dir: dir, isolation: Isolation{
		Missing: []string{"everything: isolation needs Linux, this is " + runtime.GOOS}, Memory: "not limited",
	}}
	if spec.Sandbox == SandboxRequired {
		return nil, &SandboxError{Missing: l.isolation.Missing}
	}
	if err := checkCode(spec); err != nil {
		return nil, err
	}
	if spec.Runtime != RuntimeProvided {
		var err error
		if l.with, err = findInterpreter(ctx, spec); err != nil {
			return nil, err
		}
	}
	if err := os.MkdirAll(filepath.Join(dir, "runtime"), 0o755); err != nil {
		return nil, err
	}
	return l, writeBootstraps(filepath.Join(dir, "runtime"))
}

func newDetector(_ context.Context, dir string) (*launcher, error) {
	return &launcher{dir: dir, isolation: Isolation{
		Missing: []string{"everything: isolation needs Linux, this is " + runtime.GOOS}, Memory: "not limited",
	}}, nil
}

func (l *launcher) launch(context.Context) (*process, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	tmp := filepath.Join(l.dir, "tmp", strconv.FormatInt(l.count.Add(1), 10))
	if err := os.MkdirAll(tmp, 0o700); err != nil {
		_ = listener.Close()
		return nil, err
	}
	at := places{code: l.spec.Dir, runtime: filepath.Join(l.dir, "runtime"), tmp: tmp, api: listener.Addr().String()}
	where := strings.NewReplacer("{code}", at.code, "{runtime}", at.runtime)
	argv := l.spec.argv(l.with)
	for i := range argv {
		argv[i] = where.Replace(argv[i])
	}
	p := &process{listener: listener, tmpDir: tmp, exited: make(chan struct{})}
	outR, outW, err1 := os.Pipe()
	errR, errW, err2 := os.Pipe()
	if err := errors.Join(err1, err2); err != nil {
		p.release()
		return nil, err
	}
	p.stdout, p.stderr = outR, errR
	p.cmd = &exec.Cmd{Path: argv[0], Args: argv, Env: l.spec.environ(at), Dir: at.code, Stdout: outW, Stderr: errW}
	err = p.cmd.Start()
	_ = outW.Close()
	_ = errW.Close()
	if err != nil {
		_ = outR.Close()
		_ = errR.Close()
		p.release()
		return nil, err
	}
	go func() { // ends with the process; p.exited tells
		_ = p.cmd.Wait()
		close(p.exited)
	}()
	return p, nil
}

func (l *launcher) close() error { return os.RemoveAll(l.dir) }

// process is a worker's process.
type process struct {
	cmd      *exec.Cmd
	listener net.Listener // of its Runtime API
	stdout   *os.File
	stderr   *os.File
	tmpDir   string
	exited   chan struct{} // closed when it is gone
}

// guarded returns the listener; who connects is not checked here.
func (p *process) guarded() net.Listener { return p.listener }

// kill ends the process. It does not wait.
func (p *process) kill() { _ = p.cmd.Process.Kill() }

// status says how the process ended; call it after exited.
func (p *process) status() string { return p.cmd.ProcessState.String() }

// release frees what the process took besides its pipes.
func (p *process) release() {
	_ = p.listener.Close()
	_ = os.RemoveAll(p.tmpDir)
}

// guard has no way to measure here.
func (p *process) guard(context.Context, int64) string { return "" }

func unread(*os.File) int { return 0 }
