package function

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// launcher starts the workers of one pool.
type launcher struct {
	spec      Spec
	dir       string // of the pool; holds root, runtime and tmp
	plan      plan
	isolation Isolation
	cgroup    *cgroup // nil where none can be made
	count     atomic.Int64
}

// Limits that do not depend on the spec.
const (
	maxProcesses   = 256
	maxDescriptors = 1024
	maxFileBytes   = 512 << 20
	maxTmpBytes    = 512 << 20
	launchTimeout  = 20 * time.Second
)

// newLauncher prepares dir and finds out how this machine can isolate.
func newLauncher(ctx context.Context, spec Spec, dir string) (*launcher, error) {
	if os.Args[0] == childName {
		return nil, errors.New("main does not call function.Child")
	}
	if err := checkCode(spec); err != nil {
		return nil, err
	}
	var with interpreter
	if spec.Runtime != RuntimeProvided {
		var err error
		if with, err = findInterpreter(ctx, spec); err != nil {
			return nil, err
		}
	}
	l := &launcher{spec: spec, dir: dir}
	l.plan = plan{
		Network: spec.Network, Code: spec.Dir, Programs: with.needs,
		Root: filepath.Join(dir, "root"), Runtime: filepath.Join(dir, "runtime"),
		TmpBytes: min(maxTmpBytes, spec.MemoryBytes),
		Limits: limits{
			Processes: maxProcesses, Descriptors: maxDescriptors, FileBytes: maxFileBytes,
			DataBytes: uint64(spec.MemoryBytes) + spec.headroom(),
		},
		Spec: launchSpec{Argv: spec.argv(with)},
	}
	return l.prepared(ctx)
}

// newDetector is a launcher that can only find out how this machine isolates.
func newDetector(ctx context.Context, dir string) (*launcher, error) {
	l := &launcher{spec: Spec{Name: "probe", Dir: "/"}.WithDefaults(), dir: dir}
	l.plan = plan{Root: filepath.Join(dir, "root"), Runtime: filepath.Join(dir, "runtime"), TmpBytes: 1 << 20}
	l.plan.Code = l.plan.Runtime
	return l.prepared(ctx)
}

// headroom is private memory that a runtime reserves without using it.
func (s Spec) headroom() uint64 {
	if s.Runtime == RuntimePython {
		return 256 << 20
	}
	return 1 << 30 // thread stacks, V8's and Go's arenas
}

// prepared returns l ready to launch, or leaves nothing behind.
func (l *launcher) prepared(ctx context.Context) (*launcher, error) {
	if err := l.prepare(ctx); err != nil {
		_ = l.close()
		return nil, err
	}
	return l, nil
}

func (l *launcher) prepare(ctx context.Context) error {
	for _, dir := range []string{l.dir, l.plan.Root, l.plan.Runtime, filepath.Join(l.dir, "tmp")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("make the work folder of function %s: %w", l.spec.Name, err)
		}
	}
	if err := writeBootstraps(l.plan.Runtime); err != nil {
		return err
	}
	if err := l.chooseIsolation(ctx); err != nil {
		return err
	}
	l.chooseMemory(ctx)
	return ctx.Err()
}

// chooseMemory uses a cgroup if one can be made and a process can start in it.
func (l *launcher) chooseMemory(ctx context.Context) {
	l.isolation.Memory = "measured 40 times a second, killed over the limit; RLIMIT_DATA for each process"
	l.cgroup = newCgroup(l.spec)
	if l.cgroup == nil {
		return
	}
	if _, err := l.probe(ctx, l.cgroup); err != nil {
		l.cgroup.remove()
		l.cgroup = nil
		return
	}
	l.isolation.Memory = "cgroup v2 memory.max"
}

// chooseIsolation tries the strongest form first and keeps the first that works.
func (l *launcher) chooseIsolation(ctx context.Context) error {
	if l.spec.Sandbox == SandboxOff {
		l.isolation = Isolation{Missing: []string{"everything, because sandbox is off"}}
		return nil
	}
	l.plan.Confine = true
	l.plan.Namespaces = true
	if os.Geteuid() == 0 {
		l.plan.UID, l.plan.GID = sandboxID("/proc/self/uid_map"), sandboxID("/proc/self/gid_map")
	}
	rep, err := l.probe(ctx, nil)
	if errors.Is(err, io.EOF) { // it ended without a word; what refuses it says so, or does that again
		rep, err = l.probe(ctx, nil)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) { // a busy machine refuses nothing
		return fmt.Errorf("start a worker: %w", err)
	}
	if err == nil {
		l.isolation = Isolation{Isolated: append(l.namespaces(), rep.Isolated...), Missing: rep.Missing}
	} else {
		refused := "namespaces (" + whyRefused(err) + ")"
		l.plan.Namespaces, l.plan.UID, l.plan.GID = false, 0, 0
		if rep, err = l.probe(ctx, nil); err != nil {
			return fmt.Errorf("start a worker: %w", err)
		}
		l.isolation = Isolation{Isolated: rep.Isolated, Missing: append([]string{refused}, rep.Missing...)}
	}
	if l.spec.Sandbox == SandboxRequired && !l.isolation.Complete() {
		return &SandboxError{Missing: l.isolation.Missing}
	}
	return ctx.Err()
}

// whyRefused says what keeps this machine from making namespaces.
func whyRefused(err error) string {
	switch {
	case errors.Is(err, unix.ENOSPC):
		return "the kernel allows no more user namespaces: see sysctl user.max_user_namespaces"
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return "the kernel or the container around Tarn forbids user namespaces to this user"
	}
	return err.Error()
}

func (l *launcher) namespaces() []string {
	out := []string{"files (mount namespace)", "processes (pid namespace)", "users (user namespace)", "shared memory (ipc namespace)"}
	if !l.spec.Network {
		out = append(out, "network (net namespace)")
	}
	return out
}

// probe starts a process that isolates itself and ends.
func (l *launcher) probe(ctx context.Context, in *cgroup) (report, error) {
	p := l.plan
	p.Probe = true
	proc, rep, err := l.start(ctx, p, in)
	if err != nil {
		return report{}, err
	}
	proc.kill()
	<-proc.exited
	_ = proc.stdout.Close()
	_ = proc.stderr.Close()
	proc.release()
	return rep, nil
}

// launch starts one worker and returns when it has become the function.
func (l *launcher) launch(ctx context.Context) (*process, error) {
	p := l.plan
	at := places{code: "/var/task", runtime: "/var/runtime", tmp: "/tmp", api: apiPlaceholder}
	if !p.Namespaces {
		p.Tmp = filepath.Join(l.dir, "tmp", fmt.Sprint(l.count.Add(1)))
		if err := os.Mkdir(p.Tmp, 0o700); err != nil {
			return nil, err
		}
		at = places{code: p.Code, runtime: p.Runtime, tmp: p.Tmp, api: apiPlaceholder}
	}
	p.Spec.Env = l.spec.environ(at)
	proc, _, err := l.start(ctx, p, l.cgroup)
	if err != nil && p.Tmp != "" {
		_ = os.RemoveAll(p.Tmp)
	}
	return proc, err
}

// apiPlaceholder is replaced by the child, who knows its port.
const apiPlaceholder = "{api}"

// start starts this program again as a child with plan p, and waits until it has isolated itself and,
// unless it is a probe, become the function.
func (l *launcher) start(ctx context.Context, p plan, in *cgroup) (*process, report, error) {
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, report{}, err
	}
	defer ours.Close()
	defer theirs.Close()
	proc, err := l.spawn(p, theirs, in)
	if err != nil {
		return nil, report{}, err
	}
	rep, err := l.handshake(ctx, ours, theirs, p, proc)
	if err != nil {
		proc.kill()
		<-proc.exited
		stderr, _ := io.ReadAll(io.LimitReader(proc.stderr, 4<<10))
		_ = proc.stdout.Close()
		_ = proc.stderr.Close()
		proc.release()
		if text := strings.TrimSpace(string(stderr)); text != "" {
			err = fmt.Errorf("%w: %s", err, text)
		}
		return nil, report{}, err
	}
	return proc, rep, nil
}

// spawn starts the process. One goroutine on a thread of its own starts and awaits it, because the
// kernel kills the child when the thread that started it ends.
func (l *launcher) spawn(p plan, control *os.File, in *cgroup) (*process, error) {
	outR, outW, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	errR, errW, err := os.Pipe()
	if err != nil {
		_, _ = outR.Close(), outW.Close()
		return nil, err
	}
	proc := &process{stdout: outR, stderr: errR, exited: make(chan struct{}), alone: p.Namespaces && !p.Network, tmpDir: p.Tmp}
	attr := attributes(p)
	if in != nil {
		proc.group, err = in.add(l.count.Add(1))
		if err == nil {
			attr.UseCgroupFD, attr.CgroupFD = true, int(proc.group.Fd())
		}
	}
	proc.cmd = &exec.Cmd{
		Path: "/proc/self/exe", Args: []string{childName}, Env: []string{}, // nothing is inherited
		Stdout: outW, Stderr: errW, ExtraFiles: []*os.File{control}, SysProcAttr: attr,
	}
	started := make(chan error)
	go func() { // ends with the process; proc.exited tells
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := proc.cmd.Start()
		started <- err
		if err == nil {
			proc.awaitEnd()
			proc.killGroup() // while its number still belongs to it
			_ = proc.cmd.Wait()
			close(proc.exited)
		}
	}()
	err = <-started
	_ = outW.Close()
	_ = errW.Close()
	if err != nil {
		_ = outR.Close()
		_ = errR.Close()
		proc.release()
		return nil, err
	}
	return proc, nil
}

// attributes are the process attributes for plan p.
func attributes(p plan) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	if !p.Namespaces {
		return attr
	}
	attr.Cloneflags = unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS
	if !p.Network {
		attr.Cloneflags |= unix.CLONE_NEWNET
	}
	if os.Geteuid() == 0 { // it prepares as root of its namespace and becomes somebody else
		attr.UidMappings = identity("/proc/self/uid_map")
		attr.GidMappings = identity("/proc/self/gid_map")
		attr.GidMappingsEnableSetgroups = true
		return attr
	}
	uid, gid := os.Geteuid(), os.Getegid()
	attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: uid, HostID: uid, Size: 1}}
	attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: gid, HostID: gid, Size: 1}}
	attr.AmbientCaps = []uintptr{unix.CAP_SYS_ADMIN, unix.CAP_NET_ADMIN, unix.CAP_SETPCAP, unix.CAP_SYS_RESOURCE}
	return attr
}

// handshake sends the plan and receives the report with the descriptors of the listener and of /tmp.
func (l *launcher) handshake(ctx context.Context, ours *net.UnixConn, theirs *os.File, p plan, proc *process) (report, error) {
	_ = theirs.Close() // the child has its own; its end shall be seen
	_ = ours.SetDeadline(time.Now().Add(launchTimeout))
	stop := context.AfterFunc(ctx, func() { _ = ours.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	doc, err := json.Marshal(p)
	if err != nil {
		return report{}, err
	}
	if _, err := ours.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(doc))), doc...)); err != nil {
		return report{}, fmt.Errorf("the child ended early: %w", err)
	}
	rep, fds, err := receive(ours)
	if err != nil {
		return report{}, fmt.Errorf("the child did not answer: %w", err)
	}
	if err := proc.adopt(fds); err != nil {
		return report{}, err
	}
	if p.Probe {
		return rep, nil
	}
	switch late, _, err := receive(ours); { // the connection closes when the program is replaced
	case err == nil && late.Error != "":
		return report{}, errors.New(late.Error)
	case !errors.Is(err, io.EOF):
		return report{}, fmt.Errorf("the child did not start the function: %w", err)
	}
	return rep, nil
}

// receive reads one report with its descriptors; a report of an error is an error.
func receive(c *net.UnixConn) (report, []int, error) {
	buf, oob := make([]byte, 16<<10), make([]byte, unix.CmsgSpace(2*4))
	n, oobn, _, _, err := c.ReadMsgUnix(buf, oob)
	if err != nil {
		return report{}, nil, err
	}
	if n == 0 {
		return report{}, nil, io.EOF
	}
	var fds []int
	if messages, err := unix.ParseSocketControlMessage(oob[:oobn]); err == nil {
		for _, m := range messages {
			got, _ := unix.ParseUnixRights(&m)
			fds = append(fds, got...)
		}
	}
	var rep report
	if err := json.Unmarshal(buf[:n], &rep); err != nil {
		return report{}, fds, err
	}
	if rep.Error != "" {
		return rep, fds, errors.New(rep.Error)
	}
	return rep, fds, nil
}

func socketPair() (*net.UnixConn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "control"), os.NewFile(uintptr(fds[1]), "control")
	c, err := net.FileConn(ours)
	_ = ours.Close()
	if err != nil {
		_ = theirs.Close()
		return nil, nil, err
	}
	return c.(*net.UnixConn), theirs, nil
}

// close removes what the launcher made.
func (l *launcher) close() error {
	if l.cgroup != nil {
		l.cgroup.remove()
	}
	return os.RemoveAll(l.dir)
}
