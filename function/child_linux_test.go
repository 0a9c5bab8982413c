package function

import (
	"encoding/binary"
	"encoding/json"
	"runtime"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// TestControlOutlivesTheGarbageCollector: a child whose garbage is collected can still send its report.
func TestControlOutlivesTheGarbageCollector(t *testing.T) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fds[0])
	defer unix.Close(fds[1])
	want := plan{Probe: true, Code: "/code"}
	doc, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := unix.Write(fds[0], append(binary.BigEndian.AppendUint32(nil, uint32(len(doc))), doc...)); err != nil {
		t.Fatal(err)
	}
	got, err := readPlan(control(fds[1]))
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Fatalf("%v %s", err, diff)
	}
	for range 5 { // what finalizers close is closed a moment later
		runtime.GC()
		time.Sleep(time.Millisecond)
	}
	if _, err := unix.Write(fds[1], []byte("report")); err != nil {
		t.Error(err)
	}
}
