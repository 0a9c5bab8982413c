package telemetry

import (
	"runtime"
	"testing"
)

// TestDropProgramPages: the process goes on as before, with less in memory.
func TestDropProgramPages(t *testing.T) {
	before := ResidentBytes()
	for range 3 {
		DropProgramPages()
		runtime.GC() // walks stacks and tables of the program
	}
	t.Logf("resident: %d KiB, then %d KiB", before>>10, ResidentBytes()>>10)
	if after := ResidentBytes(); after > before {
		t.Errorf("resident: %d bytes, then %d", before, after)
	}
}

func TestProgramMapping(t *testing.T) {
	const program = "/opt/a b/tarn"
	for line, want := range map[string]bool{
		"00400000-00a99000 r--p 00000000 fe:00 99 /opt/a b/tarn":                true,
		"00a99000-0427f000 r-xp 00699000 fe:00 99                /opt/a b/tarn": true,
		"065de000-066bd000 rw-p 061dd000 fe:00 99 /opt/a b/tarn":                false,
		"065de000-066bd000 r--s 061dd000 fe:00 99 /opt/a b/tarn":                false,
		"7f00-7f10 r-xp 00000000 fe:00 7 /usr/lib/libc.so.6":                    false,
		"Size:               6756 kB":                                           false,
		"":                                                                      false,
	} {
		if _, _, ok := programMapping(line, program); ok != want {
			t.Errorf("%q: %v", line, ok)
		}
	}
}
