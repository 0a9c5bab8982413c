package function

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Rights of Landlock (https://docs.kernel.org/userspace-api/landlock.html).
const (
	landlockRead = unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR

	landlockWrite = unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_REMOVE_DIR | unix.LANDLOCK_ACCESS_FS_REMOVE_FILE |
		unix.LANDLOCK_ACCESS_FS_MAKE_DIR | unix.LANDLOCK_ACCESS_FS_MAKE_REG | unix.LANDLOCK_ACCESS_FS_MAKE_SOCK |
		unix.LANDLOCK_ACCESS_FS_MAKE_FIFO | unix.LANDLOCK_ACCESS_FS_MAKE_SYM

	landlockSpecial = unix.LANDLOCK_ACCESS_FS_MAKE_CHAR | unix.LANDLOCK_ACCESS_FS_MAKE_BLOCK // granted nowhere

	landlockOfFiles = unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_READ_FILE |
		unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_TRUNCATE // rights that a file can have
)

// landlock restricts this thread. With a view of its own the whole view may be read; without one the
// system's programs, the code and the bootstraps. Only /tmp may be written. Without namespaces TCP
// reaches the Runtime API's port only. It returns why files and network could not be fenced.
func (p plan) landlock(apiPort int) (files, network error) {
	abi, _, e := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if e != 0 {
		err := errors.New("this kernel has no Landlock")
		return err, err
	}
	r, err := newRuleset(int(abi), !p.Namespaces && !p.Network)
	if err != nil {
		return err, err
	}
	defer unix.Close(r.fd)
	for _, path := range p.readable() {
		r.allow(path, landlockRead)
	}
	for _, path := range p.writable() {
		r.allow(path, landlockRead|landlockWrite|unix.LANDLOCK_ACCESS_FS_TRUNCATE|unix.LANDLOCK_ACCESS_FS_REFER)
	}
	for _, name := range devices {
		r.allow("/dev/"+name, unix.LANDLOCK_ACCESS_FS_READ_FILE|unix.LANDLOCK_ACCESS_FS_WRITE_FILE|unix.LANDLOCK_ACCESS_FS_IOCTL_DEV)
	}
	r.allowPort(apiPort)
	if r.err == nil {
		if _, _, e := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, uintptr(r.fd), 0, 0); e != 0 {
			r.err = e
		}
	}
	if abi < 4 {
		network = fmt.Errorf("TCP: Landlock here is version %d, not 4", abi)
	}
	return r.err, first(r.err, network)
}

func (p plan) readable() []string {
	if p.Namespaces {
		return []string{"/"}
	}
	paths := append([]string{p.Code, p.Runtime}, p.Programs...)
	paths = append(paths, systemFolders...)
	for _, name := range append(systemFiles, networkFiles...) {
		paths = append(paths, "/etc/"+name)
	}
	return append(paths, "/etc/passwd", "/etc/group")
}

func (p plan) writable() []string {
	if p.Namespaces {
		return []string{"/tmp", "/dev/shm"}
	}
	return []string{p.Tmp}
}

// ruleset is a Landlock ruleset being built. After the first error its methods do nothing.
type ruleset struct {
	fd      int
	handled unix.LandlockRulesetAttr
	err     error
}

func newRuleset(abi int, fenceTCP bool) (*ruleset, error) {
	var r ruleset
	r.handled.Handled_access_fs = landlockRead | landlockWrite | landlockSpecial
	size := unsafe.Sizeof(r.handled.Handled_access_fs)
	if abi >= 2 {
		r.handled.Handled_access_fs |= unix.LANDLOCK_ACCESS_FS_REFER
	}
	if abi >= 3 {
		r.handled.Handled_access_fs |= unix.LANDLOCK_ACCESS_FS_TRUNCATE
	}
	if abi >= 4 {
		size += unsafe.Sizeof(r.handled.Handled_access_net)
		if fenceTCP {
			r.handled.Handled_access_net = unix.LANDLOCK_ACCESS_NET_BIND_TCP | unix.LANDLOCK_ACCESS_NET_CONNECT_TCP
		}
	}
	if abi >= 5 {
		r.handled.Handled_access_fs |= unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
	}
	if abi >= 6 { // no signals to, and no abstract sockets of, whoever is outside
		size += unsafe.Sizeof(r.handled.Scoped)
		r.handled.Scoped = unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | unix.LANDLOCK_SCOPE_SIGNAL
	}
	fd, _, e := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&r.handled)), size, 0)
	if e != 0 {
		return nil, fmt.Errorf("make a Landlock ruleset: %w", e)
	}
	r.fd = int(fd)
	return &r, nil
}

// allow grants rights on a file or below a folder. What is not there needs no rule.
func (r *ruleset) allow(path string, rights uint64) {
	if r.err != nil || path == "" {
		return
	}
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	var info unix.Stat_t
	if err := unix.Fstat(fd, &info); err == nil && info.Mode&unix.S_IFMT == unix.S_IFREG {
		rights &= landlockOfFiles
	}
	rule := unix.LandlockPathBeneathAttr{Allowed_access: rights & r.handled.Handled_access_fs, Parent_fd: int32(fd)}
	_, _, e := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(r.fd), unix.LANDLOCK_RULE_PATH_BENEATH, uintptr(unsafe.Pointer(&rule)), 0, 0, 0)
	if e != 0 {
		r.err = fmt.Errorf("allow %s: %w", path, e)
	}
}

// landlockRuleNetPort and netPort are LANDLOCK_RULE_NET_PORT and its argument.
const landlockRuleNetPort = 2

type netPort struct {
	rights uint64
	port   uint64
}

// allowPort lets TCP connect to a port, if TCP is fenced at all.
func (r *ruleset) allowPort(port int) {
	if r.err != nil || r.handled.Handled_access_net == 0 {
		return
	}
	rule := netPort{rights: unix.LANDLOCK_ACCESS_NET_CONNECT_TCP, port: uint64(port)}
	_, _, e := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(r.fd), landlockRuleNetPort, uintptr(unsafe.Pointer(&rule)), 0, 0, 0)
	if e != 0 {
		r.err = fmt.Errorf("allow port %d: %w", port, e)
	}
}
