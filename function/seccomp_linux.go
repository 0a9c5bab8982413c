package function

import (
	"errors"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// refusedCalls are system calls that a function has no use for and that reach into other processes,
// change mounts and namespaces, load code into the kernel, or take memory that nothing counts.
var refusedCalls = []uint32{
	unix.SYS_PTRACE, unix.SYS_PROCESS_VM_READV, unix.SYS_PROCESS_VM_WRITEV, unix.SYS_PIDFD_GETFD,
	unix.SYS_MOUNT, unix.SYS_UMOUNT2, unix.SYS_PIVOT_ROOT, unix.SYS_CHROOT, unix.SYS_OPEN_TREE, unix.SYS_MOVE_MOUNT,
	unix.SYS_FSOPEN, unix.SYS_FSCONFIG, unix.SYS_FSMOUNT, unix.SYS_FSPICK, unix.SYS_MOUNT_SETATTR,
	unix.SYS_UNSHARE, unix.SYS_SETNS, unix.SYS_OPEN_BY_HANDLE_AT,
	unix.SYS_BPF, unix.SYS_PERF_EVENT_OPEN, unix.SYS_USERFAULTFD,
	unix.SYS_KEYCTL, unix.SYS_ADD_KEY, unix.SYS_REQUEST_KEY,
	unix.SYS_KEXEC_LOAD, unix.SYS_KEXEC_FILE_LOAD, unix.SYS_INIT_MODULE, unix.SYS_FINIT_MODULE, unix.SYS_DELETE_MODULE,
	unix.SYS_SWAPON, unix.SYS_SWAPOFF, unix.SYS_REBOOT, unix.SYS_ACCT, unix.SYS_QUOTACTL,
}

// absentCalls answer as on an older kernel, so that programs use something else: these take memory
// that is not counted, or do what seccomp cannot see.
var absentCalls = []uint32{unix.SYS_MEMFD_CREATE, unix.SYS_MEMFD_SECRET, unix.SYS_IO_URING_SETUP}

// Offsets in struct seccomp_data (seccomp(2)); all supported architectures are little endian.
const (
	seccompNumber = 0
	seccompArch   = 4
	seccompArg0   = 16
	seccompArg1   = 24
)

// x32Bit marks calls of the x32 interface on amd64, which would bypass a filter by number.
const x32Bit = 0x40000000

// seccomp installs the filter on this thread.
func (p plan) seccomp() error {
	var arch uint32
	switch runtime.GOARCH {
	case "amd64":
		arch = unix.AUDIT_ARCH_X86_64
	case "arm64":
		arch = unix.AUDIT_ARCH_AARCH64
	default:
		return errors.New("not written for " + runtime.GOARCH)
	}
	f := filter{
		load(seccompArch), jump(unix.BPF_JEQ, arch, 1, 0), refuseCall(unix.ENOSYS),
		load(seccompNumber), jump(unix.BPF_JGE, x32Bit, 0, 1), refuseCall(unix.ENOSYS),
	}
	for _, call := range absentCalls {
		f = append(f, jump(unix.BPF_JEQ, call, 0, 1), refuseCall(unix.ENOSYS))
	}
	for _, call := range refusedCalls {
		f = append(f, jump(unix.BPF_JEQ, call, 0, 1), refuseCall(unix.EPERM))
	}
	if !p.Namespaces && !p.Network {
		f = append(f, onlyTCP()...)
	}
	f = append(f, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW})
	prog := unix.SockFprog{Len: uint16(len(f)), Filter: &f[0]}
	// Without the flag, kernels before 5.16 slow the whole process down against attacks from within
	// one address space; what a function must not see is in other ones.
	_, _, e := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW, uintptr(unsafe.Pointer(&prog)))
	if e != 0 {
		return e
	}
	return nil
}

// onlyTCP refuses every socket but TCP, where Landlock is all that stands between a function and the
// network: it fences TCP, but neither UDP nor the Unix sockets of other programs.
func onlyTCP() filter {
	return filter{
		jump(unix.BPF_JEQ, unix.SYS_SOCKET, 0, 8),
		load(seccompArg0),
		jump(unix.BPF_JEQ, unix.AF_INET, 1, 0),
		jump(unix.BPF_JEQ, unix.AF_INET6, 0, 3),
		load(seccompArg1),
		{Code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, K: 0xf},
		jump(unix.BPF_JEQ, unix.SOCK_STREAM, 1, 0),
		refuseCall(unix.EACCES),
		load(seccompNumber),
	}
}

// filter is a classic BPF program.
type filter []unix.SockFilter

func load(offset uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset}
}

func jump(test uint16, value uint32, then, otherwise uint8) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_JMP | test | unix.BPF_K, Jt: then, Jf: otherwise, K: value}
}

func refuseCall(e unix.Errno) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(e)}
}
