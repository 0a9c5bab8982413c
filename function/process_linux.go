package function

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// process is a worker's process.
type process struct {
	cmd      *exec.Cmd
	listener net.Listener // of its Runtime API
	stdout   *os.File
	stderr   *os.File
	tmp      *os.File      // its /tmp, when that is a file system of its own
	tmpDir   string        // its temporary folder, when that is one of ours
	group    *os.File      // its cgroup, or nil
	alone    bool          // nobody else can reach its listener
	exited   chan struct{} // closed when it is gone
}

// adopt takes the descriptors that the child sent: the listener and, if any, its /tmp.
func (p *process) adopt(fds []int) error {
	if len(fds) > 1 {
		p.tmp = os.NewFile(uintptr(fds[1]), "tmp")
	}
	if len(fds) == 0 {
		return errors.New("the child sent no listener")
	}
	f := os.NewFile(uintptr(fds[0]), "listener")
	defer f.Close()
	var err error
	p.listener, err = net.FileListener(f)
	return err
}

// kill ends the process and everything it started. It does not wait.
func (p *process) kill() {
	select {
	case <-p.exited: // its number may be somebody else's now
		return
	default:
	}
	_ = p.cmd.Process.Kill() // of a namespace's first process: the kernel kills the whole namespace
	p.killGroup()
}

// awaitEnd returns when the process has ended and keeps its number.
func (p *process) awaitEnd() {
	for unix.Waitid(unix.P_PID, p.cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
	}
}

// killGroup ends what is left of the process group and the cgroup.
func (p *process) killGroup() {
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	if p.group != nil {
		killCgroup(p.group)
	}
}

// status says how the process ended; call it after exited.
func (p *process) status() string {
	state := p.cmd.ProcessState
	if state == nil {
		return "unknown end"
	}
	if p.group != nil && killedForMemory(p.group) {
		return "killed: over its memory limit"
	}
	return state.String()
}

// release frees what the process took besides its pipes; call it after exited.
func (p *process) release() {
	if p.listener != nil {
		_ = p.listener.Close()
	}
	if p.tmp != nil {
		_ = p.tmp.Close()
	}
	if p.group != nil {
		removeCgroup(p.group)
		p.group = nil
	}
	if p.tmpDir != "" {
		_ = os.RemoveAll(p.tmpDir)
	}
}

// guardInterval is how often a worker's memory is measured. Within it a process can touch some 100 MiB
// of new memory; RLIMIT_DATA stops what is faster.
const guardInterval = 25 * time.Millisecond

// guard measures memory and processes of the worker until ctx or the process ends, and returns why it
// must be killed, or "". With a cgroup the kernel holds the limit, and guard watches processes only.
func (p *process) guard(ctx context.Context, memoryBytes int64) string {
	tick := time.NewTicker(guardInterval)
	defer tick.Stop()
	var m meter
	for {
		select {
		case <-tick.C:
		case <-p.exited:
			return ""
		case <-ctx.Done():
			return ""
		}
		bytes, processes := m.measure(p.cmd.Process.Pid, memoryBytes)
		if p.group != nil {
			bytes = 0
		} else if p.tmp != nil {
			bytes += usedBytes(p.tmp)
		}
		switch {
		case bytes > memoryBytes:
			return fmt.Sprintf("killed: %d MiB of memory are more than its limit of %d MiB", bytes>>20, memoryBytes>>20)
		case processes > maxProcesses:
			return fmt.Sprintf("killed: %d processes are more than its limit of %d", processes, maxProcesses)
		}
	}
}

// usedBytes returns how much of a file system is taken.
func usedBytes(f *os.File) int64 {
	var s unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &s); err != nil {
		return 0
	}
	return int64(s.Blocks-s.Bfree) * s.Bsize
}

// unread returns how many bytes wait in a pipe.
func unread(f *os.File) int {
	raw, err := f.SyscallConn()
	if err != nil {
		return 0
	}
	n := 0
	_ = raw.Control(func(fd uintptr) { n, _ = unix.IoctlGetInt(int(fd), unix.TIOCINQ) })
	return n
}
