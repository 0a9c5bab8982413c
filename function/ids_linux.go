package function

import (
	"bufio"
	"fmt"
	"os"
	"syscall"
)

// preferredID is who the functions of a privileged host are: an id that distributions leave unused.
const preferredID = 65532

// identity maps every id that this process knows to itself. An id map line is "inside outside count"
// (user_namespaces(7)); what is inside for us is outside for the child.
func identity(path string) []syscall.SysProcIDMap {
	var out []syscall.SysProcIDMap
	eachRange(path, func(first, count int) {
		out = append(out, syscall.SysProcIDMap{ContainerID: first, HostID: first, Size: count})
	})
	return out
}

// sandboxID returns an unprivileged id that the map holds: preferredID if possible.
func sandboxID(path string) int {
	best := 0
	eachRange(path, func(first, count int) {
		last := first + count - 1
		if first <= preferredID && preferredID <= last {
			last = preferredID
		}
		if best != preferredID && (last == preferredID || last > best) {
			best = last
		}
	})
	return best
}

// eachRange calls f for every range of an id map.
func eachRange(path string, f func(first, count int)) {
	file, err := os.Open(path)
	if err != nil {
		return
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		var inside, outside, count int
		if n, _ := fmt.Sscan(lines.Text(), &inside, &outside, &count); n == 3 && count > 0 {
			f(inside, count)
		}
	}
}
