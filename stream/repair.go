package stream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	tarn "github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/record"
)

// damagedGap is by how much offsets jump over a last message that cannot be read: more than the
// records that any message holds.
const damagedGap = 1 << 25

// repair settles everything in flight after the append of the first failed or its outcome is not
// known. A message can only be where it was expected to be: right after g.expect. So the log is
// read there. What is found is committed; what is not goes back to the front of the queue with the
// same writer number and is sent again, after whatever the log ends with now. A copy of it that is
// still on its way then either finds its place taken or takes it, and is recognised by its number.
func (sh *shard) repair(r AppendResult) {
	groups := sh.flight
	sh.flight = nil
	sh.failures++
	errs := make([]error, len(groups))
	errs[0] = r.Err
	if r.Err == nil {
		errs[0] = fmt.Errorf("%w: acknowledged at sequence %d, expected %d", ErrRefused, r.Seq, groups[0].expect+1)
	}
	for i, g := range groups[1:] {
		errs[i+1] = (<-g.result).Err
	}
	log := sh.s.cfg.Logger.With("stream", sh.s.cfg.Name, "shard", sh.id)
	level := slog.LevelWarn
	if errors.Is(errs[0], ErrConflict) && sh.failures == 1 {
		level = slog.LevelDebug // another writer was first
	}
	log.Log(sh.s.ctx, level, "append not confirmed, reading the end of the log", "error", errs[0], "messages", len(groups))
	for wait := 10 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		err := sh.reconcile(groups)
		if err == nil {
			break
		}
		log.Warn("cannot read the end of the log", "error", err)
		if time.Now().After(groups[0].deadline) || sh.s.ctx.Err() != nil {
			for _, g := range groups {
				sh.giveUp(g, errs[0])
			}
			return
		}
		sh.pause(wait)
	}
	var again []*group
	for i, g := range groups {
		switch {
		case g.committed():
		case errors.Is(errs[i], ErrRefused), errors.Is(errs[i], ErrStorage), time.Now().After(g.deadline):
			sh.giveUp(g, errs[i])
		default:
			again = append(again, g)
		}
	}
	if len(again) == 0 {
		return
	}
	sh.mu.Lock()
	sh.queue = append(again, sh.queue...)
	closed := sh.closed
	sh.mu.Unlock()
	if closed && sh.failures > 3 {
		sh.failQueue(errs[0])
		return
	}
	if !errors.Is(errs[0], ErrConflict) || sh.failures > 3 {
		most := min(time.Second, 5*time.Millisecond<<min(sh.failures, 8))
		sh.pause(most/2 + rand.N(most/2)) // writers that contend get out of step
	}
}

func (g *group) committed() bool {
	select {
	case <-g.done:
		return true
	default:
		return false
	}
}

func (sh *shard) giveUp(g *group, err error) {
	if errors.Is(err, ErrRefused) {
		err = &tarn.Error{Code: tarn.CodeUnavailable, Detail: "the stream refused the records", Err: err}
	} else {
		err = unavailable(err)
	}
	sh.settle(g, err)
}

// failQueue gives up everything queued.
func (sh *shard) failQueue(err error) {
	sh.mu.Lock()
	queue := sh.queue
	sh.queue = nil
	sh.mu.Unlock()
	for _, g := range queue {
		sh.giveUp(g, err)
	}
}

func (sh *shard) pause(d time.Duration) {
	select {
	case <-time.After(d):
	case <-sh.s.ctx.Done():
	}
}

// reconcile reads how the log ends now, commits those of the groups that are in it, and learns
// what other writers added.
func (sh *shard) reconcile(groups []*group) error {
	ctx, cancel := context.WithTimeout(sh.s.ctx, 10*time.Second)
	defer cancel()
	known, _ := sh.tail.end()
	end, err := sh.log.Last(ctx)
	if errors.Is(err, ErrNotFound) {
		if known == 0 {
			return nil
		}
		return fmt.Errorf("the log ends before sequence %d: %w", known, err)
	}
	if err != nil {
		return err
	}
	if end.Seq < known {
		return fmt.Errorf("the log ends at sequence %d, before %d which was acknowledged", end.Seq, known)
	}
	for _, g := range groups {
		if g.committed() || g.expect >= end.Seq {
			continue
		}
		msg := end
		if g.expect+1 < end.Seq {
			msg, err = sh.log.Get(ctx, g.expect+1)
			if errors.Is(err, ErrNotFound) {
				continue
			}
			if err != nil {
				return err
			}
		}
		h, err := record.DecodeHeader(msg.Data)
		if err != nil || h.Writer != g.writer || h.Base != g.base {
			continue
		}
		// Foreign messages that came before it are learnt first.
		if err := sh.follow(ctx, g.expect, nil); err != nil {
			return err
		}
		sh.commit(g)
	}
	return sh.follow(ctx, end.Seq, groups)
}

// follow moves the known end of the log to seq, over messages of other writers. Requests that
// they added are taken out of the groups.
func (sh *shard) follow(ctx context.Context, seq uint64, groups []*group) error {
	known, _ := sh.tail.end()
	if seq <= known {
		return nil
	}
	// The last few are read where they were written; a scan may be behind.
	const near = 16
	if from := known + 1; seq-known > near {
		if err := sh.learnFrom(ctx, from); err != nil {
			return err
		}
		known = seq - near
	}
	for at := known + 1; at <= seq; at++ {
		msg, err := sh.log.Get(ctx, at)
		if errors.Is(err, ErrNotFound) && at < seq {
			continue
		}
		if err != nil {
			return err
		}
		sh.learn(msg)
		b, err := record.DecodeBatch(msg.Data)
		switch {
		case err == nil:
			sh.tail.move(at, b.Base+uint64(b.Count()))
		case at == seq:
			_, next := sh.tail.end()
			sh.tail.move(at, next+damagedGap)
		}
	}
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for _, g := range append(groups, sh.queue...) {
		if !g.committed() {
			sh.withdraw(g)
		}
	}
	return nil
}

// withdraw takes the requests out of a group that another writer has added since. sh.mu is held.
func (sh *shard) withdraw(g *group) {
	if !g.builder.HasRequests() {
		return
	}
	found := false
	for _, m := range g.members {
		if m.request == (record.RequestID{}) || m.duplicate {
			continue
		}
		if e := sh.requests.byID[m.request]; e != nil && e.m != m {
			m.duplicate, m.first = true, e.m.first
			found = true
		}
	}
	if !found {
		return
	}
	b, err := record.DecodeBatch(g.builder.Seal(0, g.writer))
	if err != nil {
		return // cannot be: the builder made it
	}
	g.builder = record.NewBuilder(make([]byte, 0, g.builder.Size()))
	at := 0
	for _, m := range g.members {
		if m.withdrawn {
			continue
		}
		if m.duplicate {
			m.withdrawn = true
		} else {
			m.index = g.builder.Count()
			g.builder.Add(&b.Segments[at])
		}
		at++
	}
}

// recoverTail finds the last message of a log and the offset after it. Of a log that was emptied only
// the floor, if there is one, tells that.
func recoverTail(ctx context.Context, l Log, floor uint64, log *slog.Logger) (last, next uint64, err error) {
	end, err := l.Last(ctx)
	if errors.Is(err, ErrNotFound) {
		st, err := l.State(ctx)
		if err == nil && st.LastSeq > 0 && floor == 0 {
			err = &tarn.Error{Code: tarn.CodeInternal, Detail: fmt.Sprintf("the log was emptied from outside at sequence %d: the offset of its next record is not known", st.LastSeq),
				Hint: "restore it, or remove it so that offsets begin anew"}
		}
		return st.LastSeq, 0, err
	}
	if err != nil {
		return 0, 0, err
	}
	b, err := record.DecodeBatch(end.Data)
	if err == nil {
		return end.Seq, b.Base + uint64(b.Count()), nil
	}
	log.Error("the last message of the log is damaged, offsets jump", "sequence", end.Seq, "error", err)
	for seq := end.Seq - 1; seq > 0; seq-- {
		msg, err := l.Get(ctx, seq)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return 0, 0, err
		}
		if b, err := record.DecodeBatch(msg.Data); err == nil {
			return end.Seq, b.Base + uint64(b.Count()) + uint64(end.Seq-seq)*damagedGap, nil
		}
		if end.Seq-seq > 1000 {
			break
		}
	}
	return 0, 0, &tarn.Error{Code: tarn.CodeInternal, Detail: "the last messages of the log are damaged: the offset of its next record is not known", Err: err}
}
