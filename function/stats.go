package function

import (
	"slices"
	"time"
)

// The states of a pool.
const (
	StateNew      = "new"         // not started
	StateStarting = "starting"    // no worker is ready yet
	StateReady    = "ready"       // at least one worker has loaded the function
	StateBackoff  = "backing off" // workers end again and again; RetryAt is the next attempt
	StateDraining = "draining"    // takes no more invocations
	StateClosed   = "closed"
)

// Stats are the counts of a pool since its Start.
type Stats struct {
	State       string        `json:"state"`
	Workers     int           `json:"workers"` // processes, starting ones included
	Busy        int           `json:"busy"`    // of them with an invocation
	Waiting     int           `json:"waiting"` // invocations without a worker
	ColdStarts  int64         `json:"cold_starts"`
	ColdStart   time.Duration `json:"cold_start_ns"` // what the last one took, process start to first request for work
	Invocations int64         `json:"invocations"`   // ended ones, whatever their end
	Errors      int64         `json:"errors"`        // of them: answered with an error
	Timeouts    int64         `json:"timeouts"`      // of them: killed for their time
	Crashes     int64         `json:"crashes"`       // workers that ended by themselves or over a limit
	InitErrors  int64         `json:"init_errors"`   // workers that did not get to their first invocation
	P50         time.Duration `json:"p50_ns"`        // of the last 1,024 answered invocations, without waiting
	P99         time.Duration `json:"p99_ns"`
	LastError   string        `json:"last_error,omitempty"` // of the last worker that ended badly
	RetryAt     time.Time     `json:"retry_at,omitzero"`    // when backing off
}

// durations keeps the last ones for percentiles.
type durations struct {
	ring [1024]time.Duration
	n    int // ever added
}

func (d *durations) add(v time.Duration) {
	d.ring[d.n%len(d.ring)] = v
	d.n++
}

// percentiles returns the 50th and 99th percentile by the nearest rank; 0 without values.
func (d *durations) percentiles() (p50, p99 time.Duration) {
	n := min(d.n, len(d.ring))
	if n == 0 {
		return 0, 0
	}
	sorted := slices.Clone(d.ring[:n])
	slices.Sort(sorted)
	rank := func(percent int) time.Duration { return sorted[(n*percent+99)/100-1] }
	return rank(50), rank(99)
}
