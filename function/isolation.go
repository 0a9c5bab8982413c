package function

import (
	"context"
	"strings"
)

// Isolation says what stands between a function and the machine.
type Isolation struct {
	Isolated []string `json:"isolated"`          // what it cannot see or touch, and by which means
	Missing  []string `json:"missing,omitempty"` // what this machine could not keep from it, and why
	Memory   string   `json:"memory"`            // how its memory is limited
}

// Complete reports whether nothing is missing.
func (i Isolation) Complete() bool { return len(i.Missing) == 0 }

// String describes it in one line, for tarn up.
func (i Isolation) String() string {
	parts := []string{"isolated: " + strings.Join(i.Isolated, ", ")}
	if len(i.Isolated) == 0 {
		parts[0] = "isolated: nothing"
	}
	if len(i.Missing) > 0 {
		parts = append(parts, "not isolated: "+strings.Join(i.Missing, ", "))
	}
	if i.Memory != "" {
		parts = append(parts, "memory: "+i.Memory)
	}
	return strings.Join(parts, "; ")
}

// Detect finds out how functions without a network would be isolated on this machine, by starting one
// process that does it. workDir is a scratch folder that it may fill and remove.
func Detect(ctx context.Context, workDir string) (Isolation, error) {
	l, err := newDetector(ctx, workDir)
	if err != nil {
		return Isolation{}, err
	}
	return l.isolation, l.close()
}
