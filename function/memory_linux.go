package function

import (
	"bytes"
	"os"
	"strconv"
)

// meter adds up the memory of a process and its descendants. A descendant whose parent died belongs to
// the first process of its namespace, so that the tree below that one is complete.
type meter struct {
	buf []byte
}

// maxTree bounds a measurement; more processes are over every limit.
const maxTree = 4 * maxProcesses

// measure returns the memory in use that no file backs, and the number of processes. Pages that
// processes share after a fork are counted once only if the cheap sum is over limit: the exact one
// takes the kernel milliseconds.
func (m *meter) measure(pid int, limit int64) (bytes int64, processes int) {
	pids := []int{pid}
	for i := 0; i < len(pids) && len(pids) < maxTree; i++ {
		bytes += m.resident(pids[i])
		pids = m.children(pids, pids[i])
	}
	if bytes > limit && len(pids) > 1 {
		bytes = 0
		for _, pid := range pids {
			bytes += m.proportional(pid)
		}
	}
	return bytes, len(pids)
}

// proportional returns the process's share of what it holds (proc(5), smaps_rollup), or all of it where
// the share cannot be read.
func (m *meter) proportional(pid int) int64 {
	rollup := m.read("/proc/" + strconv.Itoa(pid) + "/smaps_rollup")
	if len(rollup) == 0 {
		return m.resident(pid)
	}
	return field(rollup, "Pss_Anon:") + field(rollup, "Pss_Shmem:") + field(rollup, "SwapPss:")
}

// resident returns what the process holds that is not backed by a file (proc(5), status).
func (m *meter) resident(pid int) int64 {
	status := m.read("/proc/" + strconv.Itoa(pid) + "/status")
	return field(status, "RssAnon:") + field(status, "RssShmem:") + field(status, "VmSwap:")
}

// field returns a value of one of these files in bytes; 0 when it is not there.
func field(status []byte, name string) int64 {
	_, rest, ok := bytes.Cut(status, []byte(name))
	if !ok {
		return 0
	}
	line, _, _ := bytes.Cut(rest, []byte(" kB"))
	kib, _ := strconv.ParseInt(string(bytes.TrimSpace(line)), 10, 64)
	return kib << 10
}

// children appends the children of all threads of pid.
func (m *meter) children(pids []int, pid int) []int {
	dir := "/proc/" + strconv.Itoa(pid) + "/task"
	threads, err := os.ReadDir(dir)
	if err != nil {
		return pids
	}
	for _, t := range threads {
		for _, child := range bytes.Fields(m.read(dir + "/" + t.Name() + "/children")) {
			if n, err := strconv.Atoi(string(child)); err == nil {
				pids = append(pids, n)
			}
		}
	}
	return pids
}

// read returns the contents of a small file, valid until the next call.
func (m *meter) read(path string) []byte {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	if m.buf == nil {
		m.buf = make([]byte, 16<<10)
	}
	n, _ := f.Read(m.buf)
	return m.buf[:max(n, 0)]
}
