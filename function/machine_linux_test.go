package function_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/function"
)

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
