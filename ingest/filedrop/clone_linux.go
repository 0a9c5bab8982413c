package filedrop

import (
	"os"

	"golang.org/x/sys/unix"
)

// clone makes the empty file dst a copy of src that shares its blocks until one of the two is written to. XFS
// and Btrfs can, ext4, tmpfs and network filesystems mostly cannot. See ioctl_ficlone(2).
func clone(dst, src *os.File) error { return unix.IoctlFileClone(int(dst.Fd()), int(src.Fd())) }
