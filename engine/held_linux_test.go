package engine_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestSandboxRequired: where the kernel refuses namespaces, a function with sandbox: required holds back its
// pipeline and nothing else. It runs again in a process that is refused them.
func TestSandboxRequired(t *testing.T) {
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip("python3 is not installed")
	}
	const refused = "SANDBOX_REFUSED_TEST"
	if os.Getenv(refused) == "" {
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(self, "-test.run", "^TestSandboxRequired$")
		cmd.Env = append(os.Environ(), refused+"=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER,
			UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}, GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}}
		out, err := cmd.CombinedOutput()
		if errors.Is(err, syscall.EPERM) {
			t.Skip("this machine lets nobody start a process with other rights")
		}
		if err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	if err := os.WriteFile("/proc/sys/user/max_user_namespaces", []byte("0"), 0); err != nil {
		t.Skip(err)
	}
	dir := writeProject(t, map[string]string{
		"tarn.yaml":                      projectFile,
		"functions/enrich/function.yaml": "runtime: python\nhandler: app.handler\nsandbox: required\n",
		"functions/enrich/app.py":        enrich,
		"pipelines/events.yaml":          "pipeline: events\nsource: {http: {}}\ntransform: [{function: enrich}]\ndeliver: [{table: curated.events}]\n",
		"pipelines/plain.yaml":           "pipeline: plain\nsource: {http: {}}\ndeliver: [{table: curated.plain}]\n",
	})
	l := start(t, dir, filepath.Join(dir, "data"))
	l.post("plain", `{"a":1}`)
	l.eventually("SELECT a FROM curated.plain", "1")
	l.post("events", `{"id":1}`)
	pipelines, err := l.Pipelines(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if d := pipelines[0].Deliveries[0]; d.State != "held back" || !strings.Contains(d.LastError, "allow unprivileged user namespaces") || d.LagRecords != 1 {
		t.Errorf("pipeline events: %+v", d)
	}
	l.edit("functions/enrich/function.yaml", "runtime: python\nhandler: app.handler\nsandbox: auto\n")
	if doc, err := l.Reload(t.Context()); err != nil || len(doc.NotApplied) != 0 {
		t.Fatalf("%+v %v", doc, err)
	}
	l.eventually("SELECT id, version FROM curated.events", "1,1")
	l.verify()
}
