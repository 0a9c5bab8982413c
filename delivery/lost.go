package delivery

import (
	"fmt"
	"strings"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/record"
	"github.com/tarn-data/tarn/stream"
)

// maxDamaged bounds how many records of one damaged run get a failed record each. A damaged last
// message makes the stream skip millions of offsets, because nobody knows how many it held.
const maxDamaged = 1000

// lost accounts for records that were accepted and can not be read any more: they become failed
// records without bytes, so that nothing disappears unseen (I3). Of a long run of damaged messages only
// the first does, and names the rest, which counts as dropped. What the log came back without counts as
// expired.
func (g *gatherer) lost(shard int, d *stream.DamagedError) error {
	c, err := g.start()
	if err != nil {
		return err
	}
	g.w.cfg.Logger.Error("records of the stream cannot be read any more", "shard", shard, "from", d.From, "next", d.Next, "error", d)
	s := &c.spans[shard]
	now := time.Now().UTC()
	if d.Lost { // nothing is left to keep; the owner of the stream knows and names the loss
		c.arrived(now)
		s.expired += d.Next - s.next
		s.next = d.Next
		return nil
	}
	reason := fmt.Sprintf("the records %d:%d to %d:%d are damaged in the stream's storage", shard, d.From, shard, d.Next-1)
	if d.Referred {
		reason = fmt.Sprintf("the records %d:%d to %d:%d cannot be read: %s", shard, d.From, shard, d.Next-1, strings.TrimPrefix(d.Err.Error(), record.ErrCorrupt.Error()+": "))
	}
	next := d.Next
	if room := s.next + uint64(max(maxFailedWaiting-len(c.failed), 1)); d.Referred && next > room { // the rest is for the next chunk (I8)
		next = room
		rest := *d
		rest.From = next
		g.damaged[shard] = &rest
	}
	for at := max(d.From, s.next); at < next; at++ {
		c.fail(g.w.failed(shard, at, now, stageDecode, tarn.CodeInternal, reason, nil))
		if !d.Referred && next-d.From > maxDamaged {
			s.lost += next - at - 1
			break
		}
	}
	s.next = max(s.next, next)
	return nil
}
