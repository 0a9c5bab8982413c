package stream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tarn-data/tarn/record"
)

// Loss names records that were given offsets and that a log came back without, because its storage
// was damaged or replaced by an older copy.
type Loss struct {
	Shard      int
	From, Next uint64 // the offsets lost are From to Next-1
}

// continueAt makes the log end at floor at least, and returns its end. A log that ends before has lost
// records (I3): OnLoss is told, then a message without records says in the log itself where it goes
// on, so that every reader and every other writer passes over the same offsets.
func (sh *shard) continueAt(ctx context.Context, floor uint64) (last, next uint64, err error) {
	cfg := &sh.s.cfg
	log := cfg.Logger.With("stream", cfg.Name, "shard", sh.id)
	last, next, err = recoverTail(ctx, sh.log, floor, log)
	if err != nil || next >= floor {
		return last, next, err
	}
	loss := Loss{Shard: sh.id, From: next, Next: floor}
	log.Error("the log came back without records that were acknowledged", "first_lost", loss.From, "goes_on_at", loss.Next)
	if cfg.OnLoss != nil {
		if err := cfg.OnLoss(loss); err != nil {
			return 0, 0, fmt.Errorf("note the loss of %d records: %w", loss.Next-loss.From, err)
		}
	}
	sh.numbers++
	marker := new(record.Builder).Seal(floor, sh.numbers)
	for deadline := time.Now().Add(cfg.CommitTimeout); ; {
		r := <-sh.log.Append(marker, last, false)
		if last, next, err = recoverTail(ctx, sh.log, floor, log); err != nil || next >= floor {
			return last, next, err
		}
		if time.Now().After(deadline) {
			return 0, 0, errors.Join(fmt.Errorf("the log does not take the message that says where it goes on"), r.Err)
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return 0, 0, ctx.Err()
		}
	}
}
