package function

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// cgroupRoot is where cgroup v2 is mounted.
const cgroupRoot = "/sys/fs/cgroup"

// cgroup is a cgroup v2 folder of one pool; every worker gets one inside.
type cgroup struct {
	dir  string
	spec Spec
}

// newCgroup makes the cgroup of a pool. It returns nil where this process may not, or where memory and
// pids are not delegated to it: then memory is measured instead.
func newCgroup(spec Spec) *cgroup {
	for _, parent := range cgroupParents() {
		if !delegates(parent) {
			continue
		}
		dir, err := os.MkdirTemp(parent, "tarn-"+spec.Name+"-")
		if err != nil {
			continue
		}
		g := &cgroup{dir: dir, spec: spec}
		if os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+memory +pids"), 0) == nil {
			return g
		}
		g.remove()
	}
	return nil
}

// cgroupParents returns the folders to try: that of this process, where no process may be beside
// groups with limits unless it is the root; the one above, which a service manager may have delegated;
// and the root, which only a privileged process may use.
func cgroupParents() []string {
	b, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(b)) {
		if own, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			return slices.Compact([]string{filepath.Join(cgroupRoot, own), filepath.Join(cgroupRoot, filepath.Dir(own)), cgroupRoot})
		}
	}
	return nil
}

// delegates reports whether children of dir can have memory and pids limits.
func delegates(dir string) bool {
	b, err := os.ReadFile(filepath.Join(dir, "cgroup.subtree_control"))
	have := strings.Fields(string(b))
	return err == nil && slices.Contains(have, "memory") && slices.Contains(have, "pids")
}

// add makes the cgroup of worker number n and opens its folder.
func (g *cgroup) add(n int64) (*os.File, error) {
	dir := filepath.Join(g.dir, strconv.FormatInt(n, 10))
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, err
	}
	for _, set := range []struct {
		file, value string
		must        bool
	}{
		{"memory.max", strconv.FormatInt(g.spec.MemoryBytes, 10), true},
		{"pids.max", fmt.Sprint(maxProcesses), true},
		{"memory.swap.max", "0", false},
		{"memory.oom.group", "1", false},
	} {
		if err := os.WriteFile(filepath.Join(dir, set.file), []byte(set.value), 0); err != nil && set.must {
			_ = unix.Rmdir(dir)
			return nil, err
		}
	}
	return os.Open(dir)
}

// remove deletes the pool's cgroup; it is empty when its workers are gone.
func (g *cgroup) remove() { _ = unix.Rmdir(g.dir) }

// killCgroup kills everything in a worker's cgroup (Linux 5.14 and later).
func killCgroup(dir *os.File) {
	_ = os.WriteFile(filepath.Join(dir.Name(), "cgroup.kill"), []byte("1"), 0)
}

// killedForMemory reports whether the kernel killed a process of the worker for its memory.
func killedForMemory(dir *os.File) bool {
	events, err := os.ReadFile(filepath.Join(dir.Name(), "memory.events"))
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(events)) {
		if n, ok := strings.CutPrefix(line, "oom_kill "); ok {
			return strings.TrimSpace(n) != "0"
		}
	}
	return false
}

func removeCgroup(dir *os.File) {
	_ = dir.Close()
	_ = unix.Rmdir(dir.Name())
}
