package delivery

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"testing"

	"github.com/tarn-data/tarn"
)

func TestFaultText(t *testing.T) {
	for want, err := range map[string]error{
		"the disk of the data folder is full": fmt.Errorf("stage: %w", &fs.PathError{Op: "write", Path: "secret", Err: syscall.ENOSPC}),
		"an internal fault":                   errors.New("secret"),
		"raise limits.memory":                 &tarn.Error{Code: tarn.CodeTooLarge, Detail: "secret"},
		"broken; mend it":                     &tarn.Error{Code: tarn.CodeInvalid, Detail: "broken", Hint: "mend it"},
	} {
		if got := faultText(err); !strings.Contains(got, want) || strings.Contains(got, "secret") {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
