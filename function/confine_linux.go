package function

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// confine gives up what the function must not have: open limits, identity, capabilities, and with
// Landlock and seccomp the means to reach beyond its view. It works on this thread.
func (p plan) confine(rep *report, apiPort int) error {
	if err := p.limit(); err != nil {
		return err
	}
	if err := p.dropPrivileges(); err != nil {
		return err
	}
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return fmt.Errorf("set the death signal: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("set no-new-privileges: %w", err)
	}
	note := func(what, how string, err error) {
		if err != nil {
			rep.Missing = append(rep.Missing, fmt.Sprintf("%s (%v)", what, err))
			return
		}
		rep.Isolated = append(rep.Isolated, what+" ("+how+")")
	}
	files, network := p.landlock(apiPort)
	if p.Namespaces {
		note("a second fence around files", "Landlock", files)
	} else {
		note("files", "Landlock", files)
		if !p.Network {
			note("network", "Landlock and seccomp", network)
		}
		rep.Missing = append(rep.Missing, "processes it leaves behind when the host is killed")
	}
	note("system calls", "seccomp", p.seccomp())
	return nil
}

// limit sets resource limits.
func (p plan) limit() error {
	limits := map[int]uint64{
		unix.RLIMIT_CORE:    0,
		unix.RLIMIT_NOFILE:  p.Limits.Descriptors,
		unix.RLIMIT_FSIZE:   p.Limits.FileBytes,
		unix.RLIMIT_DATA:    p.Limits.DataBytes,
		unix.RLIMIT_MEMLOCK: 64 << 10,
	}
	// Counted for each user and user namespace since Linux 5.14; where it would count what else the
	// user runs, the pool's guard counts instead.
	if p.Namespaces && (p.UID != 0 || kernelAtLeast(5, 14)) {
		limits[unix.RLIMIT_NPROC] = p.Limits.Processes
	}
	for what, value := range limits {
		if value == 0 && what != unix.RLIMIT_CORE {
			continue
		}
		var now unix.Rlimit
		if err := unix.Getrlimit(what, &now); err != nil {
			return fmt.Errorf("read resource limit %d: %w", what, err)
		}
		value = min(value, now.Max)
		if err := unix.Prlimit(0, what, &unix.Rlimit{Cur: value, Max: value}, nil); err != nil {
			return fmt.Errorf("set resource limit %d: %w", what, err)
		}
	}
	return nil
}

func kernelAtLeast(major, minor int) bool {
	var name unix.Utsname
	if unix.Uname(&name) != nil {
		return false
	}
	var a, b int
	if n, _ := fmt.Sscanf(unix.ByteSliceToString(name.Release[:]), "%d.%d", &a, &b); n != 2 {
		return false
	}
	return a > major || a == major && b >= minor
}

// dropPrivileges becomes the unprivileged user of the plan and gives up all capabilities for ever.
// Raw calls, because the wrappers of the standard library change all threads, which is not needed.
func (p plan) dropPrivileges() error {
	for c := uintptr(0); c <= unix.CAP_LAST_CAP; c++ {
		_ = unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0) // refused where we have no capabilities to lose
	}
	if p.UID != 0 {
		if _, _, e := unix.RawSyscall(unix.SYS_SETGROUPS, 0, 0, 0); e != 0 {
			return fmt.Errorf("drop groups: %w", e)
		}
		gid, uid := uintptr(p.GID), uintptr(p.UID)
		if _, _, e := unix.RawSyscall(unix.SYS_SETRESGID, gid, gid, gid); e != 0 {
			return fmt.Errorf("become group %d: %w", gid, e)
		}
		if _, _, e := unix.RawSyscall(unix.SYS_SETRESUID, uid, uid, uid); e != 0 {
			return fmt.Errorf("become user %d: %w", uid, e)
		}
	}
	_ = unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	if err := unix.Capset(&header, &none[0]); err != nil {
		return fmt.Errorf("drop capabilities: %w", err)
	}
	return nil
}
