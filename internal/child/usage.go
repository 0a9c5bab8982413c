package child

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Usage is what a process has taken from the machine.
type Usage struct {
	ResidentBytes int64         // memory now, mapped files included
	PeakBytes     int64         // the most it ever was
	CPU           time.Duration // user and system time of all threads
}

// ErrNoUsage is returned where there is no Linux /proc.
var ErrNoUsage = errors.New("memory and CPU time of a child are read from Linux's /proc")

// Usage reads the process's /proc files. After its end there is nothing to read.
func (p *Process) Usage() (Usage, error) {
	dir := fmt.Sprintf("/proc/%d/", p.cmd.Process.Pid)
	status, err := os.ReadFile(dir + "status")
	if err != nil {
		return Usage{}, fmt.Errorf("%w: %w", ErrNoUsage, err)
	}
	stat, err := os.ReadFile(dir + "stat")
	if err != nil {
		return Usage{}, fmt.Errorf("%w: %w", ErrNoUsage, err)
	}
	return parseUsage(string(status), string(stat))
}

// clockTick is USER_HZ, which Linux fixes at 100 on every architecture Go runs on (proc(5)).
const clockTick = 10 * time.Millisecond

func parseUsage(status, stat string) (u Usage, err error) {
	for line := range strings.Lines(status) {
		for name, to := range map[string]*int64{"VmRSS:": &u.ResidentBytes, "VmHWM:": &u.PeakBytes} {
			rest, ok := strings.CutPrefix(line, name)
			if !ok {
				continue
			}
			kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			if err != nil {
				return Usage{}, fmt.Errorf("/proc status %q: %w", line, err)
			}
			*to = kib << 10
		}
	}
	// The command name, in parentheses, may hold anything; the fields after it are fixed.
	_, rest, _ := strings.Cut(stat[strings.LastIndexByte(stat, ')')+1:], " ")
	fields := strings.Fields(rest)
	if len(fields) < 13 || u.PeakBytes == 0 {
		return Usage{}, errors.New("/proc status or stat has another form than proc(5) describes")
	}
	for _, f := range fields[11:13] { // utime, stime
		ticks, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return Usage{}, fmt.Errorf("/proc stat: %w", err)
		}
		u.CPU += time.Duration(ticks) * clockTick
	}
	return u, nil
}

// tail keeps the last bytes written to it.
type tail struct {
	max int
	mu  sync.Mutex
	buf []byte
	cut bool
}

// Write implements io.Writer; it never fails.
func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, b...)
	if over := len(t.buf) - t.max; over > 0 {
		if nl := bytes.IndexByte(t.buf[over:], '\n'); nl >= 0 {
			over += nl + 1
		}
		t.buf = append(t.buf[:0], t.buf[over:]...)
		t.cut = true
	}
	return len(b), nil
}

// String returns what is kept.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.cut {
		return "[…]\n" + string(t.buf)
	}
	return string(t.buf)
}
