package telemetry

import (
	"bufio"
	"os"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// DropProgramPages takes the pages of the program's own file out of the process: after the start most
// of them are never needed again, but count as resident. One that is needed is mapped again from the
// page cache. It leaves alone every mapping that has a changed page, which could not be read again.
// Source: madvise(2), proc_pid_smaps(5).
func DropProgramPages() {
	f, err := os.Open("/proc/self/smaps")
	if err != nil {
		return
	}
	defer f.Close()
	program, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return
	}
	var start, end uint64 // of the mapping being read, 0 when it is not one to drop
	for sc := bufio.NewScanner(f); sc.Scan(); {
		line := sc.Text()
		if from, to, ok := programMapping(line, program); ok {
			start, end = from, to
			continue
		}
		key, value, _ := strings.Cut(line, ":")
		switch {
		case strings.Contains(key, "-"): // another mapping begins
			start = 0
		case key == "Anonymous" && strings.TrimSpace(value) == "0 kB" && start > 0:
			dropPages(start, end)
			start = 0
		}
	}
}

// programMapping reads the first line of a mapping: "START-END r-xp OFFSET DEV INODE PATH". It accepts
// private mappings of the program that cannot be written.
func programMapping(line, program string) (start, end uint64, ok bool) {
	fields := strings.Fields(line)
	if len(fields) < 6 || !strings.HasSuffix(line, " "+program) || len(fields[1]) != 4 || fields[1][1] != '-' || fields[1][3] != 'p' {
		return 0, 0, false
	}
	from, to, _ := strings.Cut(fields[0], "-")
	start, err1 := strconv.ParseUint(from, 16, 64)
	end, err2 := strconv.ParseUint(to, 16, 64)
	return start, end, err1 == nil && err2 == nil && start < end
}

func dropPages(start, end uint64) {
	b := unsafe.Slice((*byte)(*(*unsafe.Pointer)(unsafe.Pointer(&start))), end-start)
	_ = unix.Madvise(b, unix.MADV_DONTNEED) // nothing is lost if the kernel does not want to
}
