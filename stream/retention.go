package stream

import (
	"context"
	"errors"
	"time"
)

// retain drops expired messages until the stream closes.
func (s *Stream) retain() {
	every := min(max(s.cfg.Retention/100, time.Second), time.Minute)
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-time.After(every):
		}
		if err := s.Expire(s.ctx); err != nil && s.ctx.Err() == nil {
			s.cfg.Logger.Warn("cannot drop expired records, trying again", "stream", s.cfg.Name, "error", err)
		}
	}
}

// Expire drops the messages that are older than the retention now; the stream does it by itself
// from time to time. The last message of a shard stays, whatever its age: the offset of the next
// record is that after it.
func (s *Stream) Expire(ctx context.Context) error {
	if s.cfg.Retention == 0 {
		return nil
	}
	limit := s.cfg.AgeClock().Add(-s.cfg.Retention)
	var errs []error
	for _, sh := range s.shards {
		st, err := sh.log.State(ctx)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if st.Messages < 2 || !st.FirstTime.Before(limit) {
			continue
		}
		seq, err := sh.log.SeqAt(ctx, limit)
		if errors.Is(err, ErrNotFound) {
			seq, err = st.LastSeq, nil
		}
		if err == nil && seq > st.FirstSeq {
			err = sh.log.Purge(ctx, seq)
		}
		if err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
