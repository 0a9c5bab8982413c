package child

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Options say what to start.
type Options struct {
	Binary  string   // path of the tarn binary
	Project string   // project folder: the DIR of tarn up
	Data    string   // data folder; made when it is absent
	Args    []string // more arguments of tarn up
	Env     []string // more environment, KEY=value
}

// Process is a running tarn up. Its methods may be called from any goroutine.
type Process struct {
	cmd     *exec.Cmd
	data    string
	before  os.FileInfo // the address file of an earlier run, or nil
	started time.Time
	log     *tail
	client  *http.Client
	done    chan struct{} // closed when the process is gone
	err     error         // its exit error; read after done
}

// Start starts tarn up on a free loopback port and returns at once; Ready waits for it.
func Start(o Options) (*Process, error) {
	if err := os.MkdirAll(o.Data, 0o755); err != nil {
		return nil, err
	}
	args := append([]string{"up", o.Project, "--listen", "127.0.0.1:0", "--data", o.Data}, o.Args...)
	p := &Process{
		cmd: exec.Command(o.Binary, args...), data: o.Data, log: &tail{max: 64 << 10},
		client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Second},
		done:   make(chan struct{}),
	}
	p.before, _ = os.Stat(p.addressFile())
	p.cmd.Env = append(os.Environ(), o.Env...)
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	p.cmd.SysProcAttr = dieWithParent()
	p.started = time.Now()
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", o.Binary, err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

func (p *Process) addressFile() string { return filepath.Join(p.data, "address") }

// Started returns when the process was started.
func (p *Process) Started() time.Time { return p.started }

// Exited is closed when the process is gone, for whatever reason.
func (p *Process) Exited() <-chan struct{} { return p.done }

// Log returns the last 64 KiB of what the process wrote to its standard output and error.
func (p *Process) Log() string { return p.log.String() }

// Ready waits until GET /readyz answers 200 and returns the base URL, for example
// http://127.0.0.1:41873. It fails when the process exits or ctx ends first; the error holds the end
// of its log.
func (p *Process) Ready(ctx context.Context) (string, error) {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		if base := p.address(); base != "" && p.probe(ctx, base) {
			return base, nil
		}
		select {
		case <-tick.C:
		case <-p.done:
			return "", fmt.Errorf("tarn exited before it was ready: %w\n%s", p.exitError(), p.Log())
		case <-ctx.Done():
			return "", fmt.Errorf("tarn is not ready: %w\n%s", ctx.Err(), p.Log())
		}
	}
}

// address returns the base URL that this run wrote, or "" while there is only that of an earlier one.
func (p *Process) address() string {
	now, err := os.Stat(p.addressFile())
	if err != nil || p.before != nil && os.SameFile(p.before, now) && p.before.ModTime().Equal(now.ModTime()) {
		return ""
	}
	b, err := os.ReadFile(p.addressFile())
	s := strings.TrimSpace(string(b))
	if err != nil || s == "" {
		return ""
	}
	if !strings.Contains(s, "://") {
		s = "http://" + s
	}
	return strings.TrimSuffix(s, "/")
}

func (p *Process) probe(ctx context.Context, base string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/readyz", nil)
	if err != nil {
		return false
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// Kill sends SIGKILL and waits until the process is gone. It is fine to call it twice.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// Stop sends SIGTERM and waits for the drain. It returns an error when the exit code is not 0; when
// ctx ends first, it kills the process and says so.
func (p *Process) Stop(ctx context.Context) error {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
		if p.err != nil {
			return fmt.Errorf("tarn stopped badly: %w\n%s", p.err, p.Log())
		}
		return nil
	case <-ctx.Done():
		p.Kill()
		return fmt.Errorf("tarn did not stop on SIGTERM and was killed: %w\n%s", ctx.Err(), p.Log())
	}
}

// Wait waits until the process ends by itself and returns its exit code, -1 after a signal.
func (p *Process) Wait(ctx context.Context) (int, error) {
	select {
	case <-p.done:
		return p.cmd.ProcessState.ExitCode(), nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

func (p *Process) exitError() error {
	if p.err == nil {
		return errors.New("exit status 0")
	}
	return p.err
}
