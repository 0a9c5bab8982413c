package engine

import (
	"errors"
	"fmt"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/tarn-data/tarn"
)

// diskEvery is how often free space is looked at: often enough that a full-speed producer does not
// use up the reserve in between.
const diskEvery = 250 * time.Millisecond

// disk is the free space of the data folder. A stream whose disk is full takes nothing more until
// the process starts again, and a commit in its middle fails; so records are refused before that,
// while there still is room to deliver what was accepted.
type disk struct {
	free, reserve atomic.Int64 // bytes
}

// reserve is the free space below which records are refused.
func reserve(total int64) int64 { return max(64<<20, min(1<<30, total/20)) }

// watchDisk keeps the free space up to date.
func (e *Engine) watchDisk() {
	tick := time.NewTicker(diskEvery)
	defer tick.Stop()
	for {
		e.lookAtDisk()
		select {
		case <-e.ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (e *Engine) lookAtDisk() {
	var s syscall.Statfs_t
	if err := syscall.Statfs(e.opts.Data, &s); err != nil {
		return // the next append will tell
	}
	e.noteDisk(int64(s.Bavail)*int64(s.Bsize), int64(s.Blocks)*int64(s.Bsize))
}

// noteDisk takes what the disk has, in bytes.
func (e *Engine) noteDisk(free, total int64) {
	was := e.disk.low()
	e.disk.free.Store(free)
	e.disk.reserve.Store(reserve(total))
	e.metrics.DiskFreeBytes.Set(float64(free))
	e.metrics.IngestRefusing.Set(0)
	if e.admit() != nil {
		e.metrics.IngestRefusing.Set(1)
	}
	if now := e.disk.low(); now != was {
		if now {
			e.log.Error("the disk is nearly full: records are refused until there is room", "free_mib", e.disk.free.Load()>>20, "needed_mib", e.disk.reserve.Load()>>20)
		} else {
			e.log.Info("there is room on the disk again: records are accepted", "free_mib", e.disk.free.Load()>>20)
		}
	}
}

func (d *disk) low() bool { return d.free.Load() < d.reserve.Load() }

// refusing says why records are refused although requests are served, "" when they are taken.
func (e *Engine) refusing() string {
	var known *tarn.Error
	if errors.As(e.admit(), &known) {
		return known.Detail
	}
	return ""
}

// admit refuses records while they could not be kept.
func (e *Engine) admit() error {
	if e.disk.low() {
		return &tarn.Error{Code: tarn.CodeUnavailable,
			Detail: fmt.Sprintf("the disk of the data folder has %d MiB left; records are accepted from %d MiB on", e.disk.free.Load()>>20, e.disk.reserve.Load()>>20),
			Hint:   "make room, or shorten the retention of the streams"}
	}
	if h, ok := e.streams.(interface{ Healthy() error }); ok {
		if err := h.Healthy(); err != nil {
			return &tarn.Error{Code: tarn.CodeUnavailable, Detail: "the streams take no records", Hint: "see the log; after a full disk, make room and restart", Err: err}
		}
	}
	return nil
}
