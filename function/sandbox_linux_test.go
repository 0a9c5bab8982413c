package function_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tarn-data/tarn/function"
)

// try lets a hostile function make one attempt.
func try(t *testing.T, p *function.Pool, attempt string, with map[string]any) (string, error) {
	t.Helper()
	event := map[string]any{"try": attempt}
	for k, v := range with {
		event[k] = v
	}
	b, _ := json.Marshal(event)
	return invoke(t, p, string(b))
}

// refused tells what failed inside the function, where that is what a test wants.
func refused(t *testing.T, out string, err error, types ...string) {
	t.Helper()
	var f *function.FunctionError
	if !errors.As(err, &f) {
		t.Errorf("it got through: %s, %v", out, err)
		return
	}
	for _, want := range types {
		if f.Type == want {
			return
		}
	}
	t.Errorf("failed with %v, want one of %v", err, types)
}

func hostile(memoryMiB int64) function.Spec {
	s := python("hostile.handler")
	s.MemoryBytes = memoryMiB << 20
	s.Timeout = 20 * time.Second
	s.Concurrency = 1
	return s
}

// hasNamespaces reports whether the pool's workers have a view of their own.
func hasNamespaces(p *function.Pool) bool {
	return strings.Contains(p.Isolation().String(), "mount namespace")
}

// TestHostile lets a function try to read what it must not read and to reach what it must not reach.
func TestHostile(t *testing.T) {
	data := t.TempDir() // stands for the data folder
	secret := filepath.Join(data, "tarn.db")
	if err := os.WriteFile(secret, []byte("the metadata database"), 0o644); err != nil {
		t.Fatal(err)
	}
	host := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "the host's interface") }))
	defer host.Close()
	port := host.Listener.Addr().(*net.TCPAddr).Port
	p := start(t, function.Options{Spec: hostile(256), WorkDir: filepath.Join(data, "functions", "a")})
	other := start(t, function.Options{Spec: hostile(256), WorkDir: filepath.Join(data, "functions", "b")})
	t.Log(p.Isolation())
	if len(p.Isolation().Isolated) < 3 {
		t.Skipf("NOTICE: this machine does not isolate: %v", p.Isolation())
	}

	t.Run("files", func(t *testing.T) {
		self, _ := os.Executable()
		for _, path := range []string{secret, "/etc/shadow", "/etc/machine-id", "/proc/1/environ", fmt.Sprintf("/proc/%d/environ", os.Getpid()), self, "/var/log/dpkg.log", "/proc/kcore"} {
			if path == "/proc/1/environ" && hasNamespaces(p) {
				continue // its own
			}
			out, err := try(t, p, "read", map[string]any{"path": path})
			refused(t, out, err, "FileNotFoundError", "PermissionError", "NotADirectoryError")
		}
		for _, path := range []string{data, "/var/lib", "/home", "/run", "/sys/fs/cgroup", filepath.Join(data, "functions", "b", "tmp")} {
			out, err := try(t, p, "list_folder", map[string]any{"path": path})
			refused(t, out, err, "FileNotFoundError", "PermissionError")
		}
		for _, path := range []string{"/var/task/x", "/var/runtime/x", "/usr/x", "/etc/passwd", "/x", "/proc/sys/kernel/core_pattern", "testdata/x", "app.py"} {
			out, err := try(t, p, "write", map[string]any{"path": path})
			refused(t, out, err, "FileNotFoundError", "PermissionError", "OSError")
		}
	})
	t.Run("another function's tmp", func(t *testing.T) {
		if out, err := try(t, other, "tmp", nil); err != nil || out != "[]" {
			t.Fatalf("%s, %v", out, err)
		}
		if out, err := try(t, p, "tmp", nil); err != nil || out != "[]" {
			t.Errorf("%s, %v", out, err)
		}
	})
	t.Run("network", func(t *testing.T) {
		for _, at := range []map[string]any{{"host": "127.0.0.1", "port": port}, {"host": "1.1.1.1", "port": 443}, {"host": "::1", "port": port}} {
			out, err := try(t, p, "connect", at)
			refused(t, out, err, "ConnectionRefusedError", "OSError", "PermissionError")
		}
		out, err := try(t, p, "datagram", map[string]any{"host": "1.1.1.1", "port": 53})
		refused(t, out, err, "OSError", "PermissionError")
		name := fmt.Sprintf("tarn-test-%d", os.Getpid())
		l, err := net.Listen("unix", "@"+name)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		out, err = try(t, p, "abstract", map[string]any{"name": name})
		refused(t, out, err, "ConnectionRefusedError", "PermissionError")
	})
	t.Run("the host's process", func(t *testing.T) {
		for _, attempt := range []string{"kill", "ptrace"} {
			out, err := try(t, p, attempt, map[string]any{"pid": os.Getpid()})
			refused(t, out, err, "ProcessLookupError", "PermissionError", "OSError")
		}
	})
	t.Run("privileges", func(t *testing.T) {
		if hasNamespaces(p) {
			out, err := try(t, p, "processes", nil)
			if err != nil || out != `["1"]` {
				t.Errorf("sees processes %s, %v", out, err)
			}
			out, err = try(t, p, "capabilities", nil)
			var got map[string]string
			if err != nil || json.Unmarshal([]byte(out), &got) != nil {
				t.Fatalf("%s, %v", out, err)
			}
			for name, value := range got {
				if strings.HasPrefix(name, "Cap") && strings.Trim(value, "0") != "" {
					t.Errorf("%s is %s", name, value)
				}
			}
			if got["NoNewPrivs"] != "1" || got["Seccomp"] != "2" {
				t.Errorf("%v", got)
			}
		}
		for name, call := range map[string][]uint64{
			"unshare": {unix.SYS_UNSHARE, unix.CLONE_NEWUSER}, "clone": {unix.SYS_CLONE, unix.CLONE_NEWUSER | uint64(unix.SIGCHLD), 0},
			"mount": {unix.SYS_MOUNT, 0, 0, 0, 0, 0}, "bpf": {unix.SYS_BPF, 0, 0, 0}, "memfd": {unix.SYS_MEMFD_CREATE, 0, 0}, "io_uring": {unix.SYS_IO_URING_SETUP, 8, 0},
			"keyctl": {unix.SYS_KEYCTL, 0, 0}, "x32": {unix.SYS_SOCKET | 0x40000000, 2, 1, 0},
		} {
			if name == "clone" && !hasNamespaces(p) {
				continue
			}
			out, err := try(t, p, "system_call", map[string]any{"call": call})
			if err == nil {
				t.Errorf("%s: %s", name, out)
			}
		}
	})
	must(t, p, `{"try":"tmp"}`)
	if s := p.Stats(); s.Crashes != 0 || s.ColdStarts != 1 {
		t.Errorf("%+v", s)
	}
}

// TestGreedy lets a function take more than its share.
func TestGreedy(t *testing.T) {
	p := start(t, function.Options{Spec: hostile(256)})
	limited := func(t *testing.T, what string, with map[string]any) {
		t.Helper()
		begun, crashed := time.Now(), p.Stats().Crashes
		out, err := try(t, p, what, with)
		var (
			f    *function.FunctionError
			exit *function.ExitError
		)
		if !errors.As(err, &f) && !errors.As(err, &exit) {
			t.Fatalf("%s: %s, %v", what, out, err)
		}
		t.Logf("%s %v: %v after %v", what, with, errors.Unwrap(err), time.Since(begun).Round(time.Millisecond))
		if what == "fill" { // its answer may come before it is killed: a full /tmp is over the limit with any memory beside it
			until(t, "it was killed", func() bool { return p.Stats().Crashes > crashed })
		}
		must(t, p, `{"try":"tmp"}`) // the pool goes on
	}
	limited(t, "allocate", map[string]any{"mib": 4096, "step": 4096})
	limited(t, "allocate", map[string]any{"mib": 4096, "step": 16})
	limited(t, "shared", map[string]any{"mib": 4096})
	limited(t, "together", map[string]any{"processes": 8, "mib": 100})
	limited(t, "bomb", nil)
	limited(t, "threads", nil)
	if hasNamespaces(p) {
		limited(t, "fill", map[string]any{"mib": 4096})
	}
}

// TestNothingOutlivesWorker looks for processes that a function left behind.
func TestNothingOutlivesWorker(t *testing.T) {
	p := start(t, function.Options{Spec: hostile(256)})
	if !hasNamespaces(p) {
		t.Skip("processes that detach themselves are caught by a pid namespace only")
	}
	length := 600_000 + os.Getpid() // a command line that is ours
	if _, err := try(t, p, "leave", map[string]any{"command": fmt.Sprintf("sleep %d", length)}); err != nil {
		t.Fatal(err)
	}
	until(t, "it runs", func() bool { return running(strconv.Itoa(length)) })
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	until(t, "it is gone", func() bool { return !running(strconv.Itoa(length)) })
}

// running reports whether a process has an argument.
func running(arg string) bool {
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, name := range lines {
		b, _ := os.ReadFile(name)
		if strings.Contains(string(b), "\x00"+arg+"\x00") {
			return true
		}
	}
	return false
}

func TestNetworkAllowed(t *testing.T) {
	host := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "welcome") }))
	defer host.Close()
	spec := hostile(256)
	spec.Network = true
	p := start(t, function.Options{Spec: spec})
	out, err := try(t, p, "connect", map[string]any{"host": "localhost", "port": host.Listener.Addr().(*net.TCPAddr).Port})
	if err != nil || !strings.Contains(out, "200 OK") {
		t.Errorf("%s, %v", out, err)
	}
	out, err = try(t, p, "read", map[string]any{"path": "/etc/shadow"})
	refused(t, out, err, "FileNotFoundError", "PermissionError")
}

// TestStrangerAtTheRuntimeAPI asks for a function's events from outside, where that is possible at all.
func TestStrangerAtTheRuntimeAPI(t *testing.T) {
	spec := python("app.about")
	spec.Network = true
	p := start(t, function.Options{Spec: spec})
	var got struct{ Env map[string]string }
	if err := json.Unmarshal([]byte(must(t, p, `{}`)), &got); err != nil {
		t.Fatal(err)
	}
	resp, err := http.Get("http://" + got.Env["AWS_LAMBDA_RUNTIME_API"] + "/2018-06-01/runtime/invocation/next")
	if err == nil {
		t.Errorf("it was answered: %s", resp.Status)
	}
	must(t, p, `{}`)
}
