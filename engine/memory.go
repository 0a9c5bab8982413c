package engine

import (
	"time"

	"github.com/tarn-data/tarn/duck"
	"github.com/tarn-data/tarn/internal/telemetry"
)

// trimEvery is the least pause between two orders to give freed memory back.
const trimEvery = time.Second

// watchMemory gives freed memory back to the operating system while the process is near its bound
// (I8): what is counted may be within its limits while allocators hold on to what was.
func (e *Engine) watchMemory() {
	tick := time.NewTicker(trimEvery)
	defer tick.Stop()
	for {
		select {
		case <-e.ctx.Done():
			return
		case <-tick.C:
			if telemetry.ResidentBytes() > e.budget.process/10*9 {
				duck.TrimMemory()
			}
		}
	}
}
