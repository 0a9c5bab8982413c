package function

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// systemFiles are the parts of /etc that programs need and that hold nothing private.
var systemFiles = []string{
	"ld.so.cache", "ld.so.conf", "ld.so.conf.d", "ld-musl-x86_64.path", "alternatives", "localtime", "timezone",
	"nsswitch.conf", "protocols", "services", "mime.types", "ca-certificates", "crypto-policies",
	"ssl/certs", "ssl/cert.pem", "ssl/openssl.cnf", "pki/ca-trust", "pki/tls/certs", "pki/tls/cert.pem", "pki/tls/openssl.cnf",
	"python3", "python3.11", "python3.12", "python3.13", "gai.conf", "host.conf",
}

// networkFiles say how to find other machines.
var networkFiles = []string{"resolv.conf", "hosts"}

var devices = []string{"null", "zero", "full", "random", "urandom"}

// maxShmBytes is the size of /dev/shm, and of all SysV shared memory.
const maxShmBytes = 64 << 20

// buildView makes Root the root of the file system: an empty one in memory, on which stand the
// system's programs, the code and the bootstraps, all read-only, and a private /tmp.
func (p plan) buildView() error {
	// Nothing done here shall be seen outside.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	v := view{root: p.Root}
	v.mount("tmpfs", "", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755,size=4m")
	for _, dir := range systemFolders {
		v.system(dir)
	}
	for _, path := range p.Programs {
		v.bind(path, path)
	}
	for _, name := range systemFiles {
		v.bindIfThere("/etc/" + name)
	}
	if p.Network {
		for _, name := range networkFiles {
			v.bindIfThere("/etc/" + name)
		}
	}
	v.identity(p)
	v.devices()
	v.mount("tmpfs", "/dev/shm", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, fmt.Sprintf("mode=1777,size=%d", min(maxShmBytes, p.TmpBytes)))
	v.mount("tmpfs", "/tmp", unix.MS_NOSUID|unix.MS_NODEV, fmt.Sprintf("mode=1777,size=%d,nr_inodes=65536", p.TmpBytes))
	v.bind(p.Code, "/var/task")
	v.bind(p.Runtime, "/var/runtime")
	v.proc()
	v.bounds()
	if v.err != nil {
		return v.err
	}
	return enter(p.Root)
}

// view builds a file system below root. After the first error its methods do nothing.
type view struct {
	root string
	err  error
}

func (v *view) fail(doing string, err error) {
	if err != nil && v.err == nil {
		v.err = fmt.Errorf("%s: %w", doing, err)
	}
}

// mount mounts a new file system of a kind.
func (v *view) mount(kind, at string, flags uintptr, data string) {
	if v.err != nil {
		return
	}
	target := v.root + at
	v.fail("make "+at, os.MkdirAll(target, 0o755))
	v.fail("mount "+kind+" on "+at, unix.Mount(kind, target, kind, flags, data))
}

// bind shows from as to, read-only, without devices and without set-user-id programs.
func (v *view) bind(from, to string) {
	if v.err != nil {
		return
	}
	target := v.root + to
	info, err := os.Stat(from)
	if err != nil {
		v.fail("look at "+from, err)
		return
	}
	if info.IsDir() {
		err = os.MkdirAll(target, 0o755)
	} else if err = os.MkdirAll(filepath.Dir(target), 0o755); err == nil {
		err = os.WriteFile(target, nil, 0o644)
	}
	v.fail("make "+to, err)
	v.fail("bind "+from, unix.Mount(from, target, "", unix.MS_BIND|unix.MS_REC, ""))
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV}
	v.fail("make "+to+" read-only", unix.MountSetattr(unix.AT_FDCWD, target, unix.AT_RECURSIVE, &attr))
}

func (v *view) bindIfThere(path string) {
	if _, err := os.Stat(path); err == nil {
		v.bind(path, path)
	}
}

// system shows a folder of the system, which may be a symbolic link into another one.
func (v *view) system(dir string) {
	if v.err != nil {
		return
	}
	info, err := os.Lstat(dir)
	switch {
	case err != nil:
	case info.Mode()&os.ModeSymlink != 0:
		target, err := os.Readlink(dir)
		v.fail("read "+dir, err)
		v.fail("link "+dir, os.Symlink(target, v.root+dir))
	default:
		v.bind(dir, dir)
	}
}

// identity writes the user database of one user.
func (v *view) identity(p plan) {
	uid, gid := os.Getuid(), os.Getgid()
	if p.UID != 0 {
		uid, gid = p.UID, p.GID
	}
	v.write("/etc/passwd", fmt.Sprintf("sandbox:x:%d:%d:function:/tmp:/bin/sh\n", uid, gid))
	v.write("/etc/group", fmt.Sprintf("sandbox:x:%d:\n", gid))
	if !p.Network {
		v.write("/etc/hosts", "127.0.0.1 localhost\n")
	}
}

func (v *view) write(path, text string) {
	if v.err != nil {
		return
	}
	v.fail("make folder of "+path, os.MkdirAll(v.root+filepath.Dir(path), 0o755))
	v.fail("write "+path, os.WriteFile(v.root+path, []byte(text), 0o644))
}

// devices shows the few that programs expect. They are bound one by one: a device file cannot be made
// in a user namespace.
func (v *view) devices() {
	for _, name := range devices {
		if v.err != nil {
			return
		}
		target := v.root + "/dev/" + name
		v.fail("make /dev", os.MkdirAll(v.root+"/dev", 0o755))
		v.fail("make /dev/"+name, os.WriteFile(target, nil, 0o644))
		v.fail("bind /dev/"+name, unix.Mount("/dev/"+name, target, "", unix.MS_BIND, ""))
	}
	if v.err != nil {
		return
	}
	for name, target := range map[string]string{"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2"} {
		v.fail("link /dev/"+name, os.Symlink(target, v.root+"/dev/"+name))
	}
}

// proc shows the processes of the new namespace. Where the container around us hides parts of its own
// /proc, the kernel refuses a whole one; then the function has none, which most can live with.
func (v *view) proc() {
	if v.err != nil {
		return
	}
	target := v.root + "/proc"
	v.fail("make /proc", os.MkdirAll(target, 0o555))
	err := unix.Mount("proc", target, "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
	if err != nil && !errors.Is(err, unix.EPERM) {
		v.fail("mount /proc", err)
	}
}

// bounds forbids what would escape the measuring of memory or widen what can be attacked: large SysV
// shared memory and further user namespaces. Kernels without these settings are not the worse for it.
func (v *view) bounds() {
	for path, value := range map[string]string{
		"kernel/shmall": fmt.Sprint(maxShmBytes / os.Getpagesize()), "kernel/msgmni": "16",
		"user/max_user_namespaces": "0",
	} {
		_ = os.WriteFile(v.root+"/proc/sys/"+path, []byte(value), 0)
	}
}

// enter makes root the root folder and forgets the old one.
func enter(root string) error {
	if err := unix.Chdir(root); err != nil {
		return err
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("pivot_root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("leave the old root: %w", err)
	}
	if err := unix.Chdir("/"); err != nil {
		return err
	}
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
	if err := unix.MountSetattr(unix.AT_FDCWD, "/", 0, &attr); err != nil {
		return fmt.Errorf("make / read-only: %w", err)
	}
	_ = unix.Sethostname([]byte("function"))
	return nil
}
