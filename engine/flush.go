package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tarn-data/tarn"
)

// catchUpTime is how long deliveries may read on before a stop.
const catchUpTime = 5 * time.Second

// Flush commits everything that the deliveries and the raw backup of a pipeline can take in now. With an
// empty name it does that for all pipelines, and then for all extracts.
func (e *Engine) Flush(ctx context.Context, name string) error {
	r := e.running.Load()
	if name != "" {
		p := r.byName[name]
		if p == nil {
			return &tarn.Error{Code: tarn.CodeNotFound, Detail: fmt.Sprintf("there is no pipeline %q", name)}
		}
		return p.flush(ctx)
	}
	var held error // told of at the end: it is no reason not to commit the others
	for _, p := range r.pipes {
		if p.held != nil {
			held = errors.Join(held, p.refuse())
		} else if err := p.flush(ctx); err != nil {
			return err
		}
	}
	for _, x := range r.extracts { // in the order of what they read
		if err := x.flush(ctx); err != nil {
			return err
		}
	}
	return held
}

// FlushExtract commits everything that an extract can take in now, and before that what the extracts in
// front of it can: their rows are what it reads.
func (e *Engine) FlushExtract(ctx context.Context, name string) error {
	r := e.running.Load()
	for _, x := range r.extracts {
		if x.spec.Name != name {
			continue
		}
		for _, up := range r.upTo(x) {
			if err := up.flush(ctx); err != nil {
				return err
			}
		}
		return nil
	}
	return &tarn.Error{Code: tarn.CodeNotFound, Detail: fmt.Sprintf("there is no extract %q", name)}
}

// upTo returns an extract behind all those whose rows come to it.
func (r *running) upTo(x *extraction) []*extraction {
	out, read := []*extraction{x}, map[*pipe]bool{x.from: true}
	for _, up := range slices.Backward(r.extracts) {
		if up.to != nil && read[up.to] {
			out, read[up.from] = append(out, up), true
		}
	}
	slices.Reverse(out)
	return out
}

func (p *pipe) flush(ctx context.Context) error {
	if err := p.refuse(); err != nil {
		return err
	}
	for _, d := range p.deliveries {
		if err := d.worker.Flush(ctx); err != nil {
			return err
		}
	}
	if p.backup != nil {
		return p.backup.Flush(ctx)
	}
	return nil
}

func (x *extraction) flush(ctx context.Context) error {
	for _, s := range x.stages {
		if err := s.worker.Flush(ctx); err != nil {
			return err
		}
	}
	return nil
}

// catchUp gives deliveries time to come to the end of their streams before a stop: extracts behind those
// whose rows they read, and pipelines last, since extracts may write to their streams. What is left is
// delivered at the next start.
func (e *Engine) catchUp() {
	ctx, cancel := context.WithTimeout(context.Background(), catchUpTime)
	defer cancel()
	r := e.running.Load()
	for _, x := range r.extracts {
		for _, s := range x.stages {
			e.catchUpOne(ctx, s.runningDelivery)
		}
	}
	for _, p := range r.pipes {
		for _, d := range p.deliveries {
			if p.held == nil {
				e.catchUpOne(ctx, d)
			}
		}
	}
}

// catchUpOne does not wait for a delivery that cannot go on now.
func (e *Engine) catchUpOne(ctx context.Context, d *runningDelivery) {
	if d.worker.Status().Error != "" {
		return
	}
	if err := d.worker.Flush(ctx); err != nil {
		e.log.Info("stopping before a delivery has come to the end of its stream; it goes on at the next start", "delivery", d.name(), "reason", err)
	}
}
