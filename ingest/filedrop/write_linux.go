package filedrop

import (
	"os"

	"golang.org/x/sys/unix"
)

// startWriting has the disk begin to write a part of a file, and does not wait for it. It makes nothing durable. See
// sync_file_range(2).
func startWriting(f *os.File, from, n int64) {
	_ = unix.SyncFileRange(int(f.Fd()), from, n, unix.SYNC_FILE_RANGE_WRITE) // else it begins when it must
}
