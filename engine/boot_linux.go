package engine

import (
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// machineUptime names the boot of this machine and says how long ago it was: by a clock that nobody sets,
// and that goes on while the machine sleeps.
// Source: clock_gettime(2), CLOCK_BOOTTIME; random(4), boot_id.
func machineUptime() uptime {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	var now unix.Timespec
	if err != nil || unix.ClockGettime(unix.CLOCK_BOOTTIME, &now) != nil {
		return uptime{}
	}
	return uptime{boot: strings.TrimSpace(string(id)), up: time.Duration(now.Nano())}
}
