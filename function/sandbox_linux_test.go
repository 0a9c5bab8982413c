package function_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tarn-data/tarn"
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
		begun := time.Now()
		out, err := try(t, p, what, with)
		var (
			f    *function.FunctionError
			exit *function.ExitError
		)
		if !errors.As(err, &f) && !errors.As(err, &exit) {
			t.Fatalf("%s: %s, %v", what, out, err)
		}
		t.Logf("%s %v: %v after %v", what, with, errors.Unwrap(err), time.Since(begun).Round(time.Millisecond))
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

// TestHostKilled kills the program that runs a pool and looks for its workers.
func TestHostKilled(t *testing.T) {
	for _, sandbox := range []string{function.SandboxAuto, function.SandboxOff} {
		t.Run(sandbox, func(t *testing.T) {
			work := t.TempDir()
			host := rerun(t, nil, "TARN_TEST_HOST="+work, "TARN_TEST_SANDBOX="+sandbox)
			out, err := host.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := host.Start(); err != nil {
				t.Fatal(err)
			}
			var line [64]byte
			n, _ := out.Read(line[:]) // the host writes when its worker is ready
			if string(line[:n]) != "ready\n" {
				t.Fatalf("the host said %q", line[:n])
			}
			workers := childrenOf(host.Process.Pid)
			if len(workers) == 0 {
				t.Fatal("no worker")
			}
			if err := host.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = host.Wait()
			for _, pid := range workers {
				until(t, "worker is gone", func() bool {
					stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
					return err != nil || strings.Contains(string(stat), ") Z ") // dead, its new parent may take its time
				})
			}
		})
	}
}

// runHost is the program that TestHostKilled kills.
func runHost() {
	work := os.Getenv("TARN_TEST_HOST")
	if work == "" {
		return
	}
	dir, _ := filepath.Abs("testdata/python")
	p := function.New(function.Options{WorkDir: filepath.Join(work, "w"), Spec: function.Spec{
		Name: "x", Dir: dir, Runtime: function.RuntimePython, Handler: "app.echo", Sandbox: os.Getenv("TARN_TEST_SANDBOX"),
	}})
	if err := errors.Join(p.Start(context.Background()), p.Ready(context.Background())); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("ready")
	select {}
}

// childrenOf returns the processes that a process started.
func childrenOf(pid int) []int {
	var out []int
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, name := range lists {
		b, _ := os.ReadFile(name)
		for _, s := range strings.Fields(string(b)) {
			n, _ := strconv.Atoi(s)
			out = append(out, n)
		}
	}
	return out
}

// rerun is a command that runs this test binary again with more environment.
func rerun(t *testing.T, args []string, env ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stderr = os.Stderr
	return cmd
}

// again runs the hostile tests in another process with other rights and expects them to pass.
func again(t *testing.T, attr *syscall.SysProcAttr, env ...string) {
	t.Helper()
	dir := t.TempDir()
	for d := dir; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		_ = os.Chmod(d, 0o777)
	}
	cmd := rerun(t, []string{"-test.run", "^(TestHostile|TestGreedy|TestNetworkAllowed|TestStrangerAtTheRuntimeAPI|TestErrors|TestNothingOutlivesWorker)$", "-test.v"}, append(env, "TMPDIR="+dir, "HOME="+dir, "PATH=/usr/local/bin:/usr/bin:/bin")...)
	copyFile(t, cmd.Path, filepath.Join(dir, "again.test"))
	cmd.Path, cmd.SysProcAttr, cmd.Stderr = filepath.Join(dir, "again.test"), attr, nil
	out, err := cmd.CombinedOutput()
	if errors.Is(err, syscall.EPERM) {
		t.Skip("NOTICE: this machine lets nobody start a process with other rights; that form of isolation is not tested")
	}
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "isolated:") || strings.Contains(line, "after ") {
			t.Log(strings.TrimSpace(line))
		}
	}
}

// TestAsOrdinaryUser repeats the hostile tests without privileges.
func TestAsOrdinaryUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("this is an ordinary user already")
	}
	again(t, &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 54321, Gid: 54321}})
}

// TestWithoutNamespaces repeats the hostile tests where the kernel refuses namespaces.
func TestWithoutNamespaces(t *testing.T) {
	attr := &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER}
	if os.Geteuid() == 0 {
		attr.UidMappings = []syscall.SysProcIDMap{{HostID: 0, Size: 70000}}
		attr.GidMappings = attr.UidMappings
	} else {
		attr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	again(t, attr, "TARN_TEST_NO_NAMESPACES=1")
}

// forbidNamespaces lets the kernel refuse namespaces to this process.
func forbidNamespaces() {
	if os.Getenv("TARN_TEST_NO_NAMESPACES") == "" {
		return
	}
	if err := os.WriteFile("/proc/sys/user/max_user_namespaces", []byte("0"), 0); err != nil {
		panic(err)
	}
	_ = os.Unsetenv("TARN_TEST_NO_NAMESPACES")
}

func TestSandboxRequired(t *testing.T) {
	spec := python("app.echo")
	spec.Sandbox = function.SandboxRequired
	if os.Getenv("TARN_TEST_REFUSED") == "" {
		if i, err := function.Detect(t.Context(), filepath.Join(t.TempDir(), "probe")); err != nil || !i.Complete() {
			t.Skipf("NOTICE: this machine cannot isolate completely: %v, %v", i, err)
		}
		must(t, start(t, function.Options{Spec: spec}), `{}`)
		cmd := rerun(t, []string{"-test.run", "^TestSandboxRequired$"}, "TARN_TEST_NO_NAMESPACES=1", "TARN_TEST_REFUSED=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER,
			UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}, GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
		}
		if out, err := cmd.Output(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	p := prepare(t, function.Options{Spec: spec})
	err := p.Start(t.Context())
	var s *function.SandboxError
	if !errors.As(err, &s) || tarn.CodeOf(err) != tarn.CodeForbidden || !strings.Contains(s.Error(), "namespaces") {
		t.Errorf("got %v", err)
	}
}

func TestDetect(t *testing.T) {
	i, err := function.Detect(t.Context(), filepath.Join(t.TempDir(), "probe"))
	if err != nil || len(i.Isolated) == 0 || i.Memory == "" {
		t.Errorf("%+v, %v", i, err)
	}
}
