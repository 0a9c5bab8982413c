package laketest

import (
	"context"
	"errors"
	"io"
	"iter"
	"sync"
	"sync/atomic"

	"github.com/tarn-data/tarn/lake"
)

// Kind is a kind of bucket operation.
type Kind string

// The kinds. List counts once per call.
const (
	Put     Kind = "put"
	PutFile Kind = "put file"
	Open    Kind = "open"
	Stat    Kind = "stat"
	List    Kind = "list"
	Delete  Kind = "delete"
)

// Op is one moment of one operation: before it begins or after it has taken effect.
type Op struct {
	Kind  Kind
	Key   string
	After bool
}

// Match picks moments. Matches may keep state; they are called one at a time.
type Match func(Op) bool

// Kinds matches operations of the kinds.
func Kinds(kinds ...Kind) Match {
	return func(o Op) bool {
		for _, k := range kinds {
			if o.Kind == k {
				return true
			}
		}
		return false
	}
}

// Nth matches the n-th moment, counted from 1, that m matches.
func Nth(n int, m Match) Match {
	seen := 0
	return func(o Op) bool {
		if m(o) {
			seen++
			return seen == n
		}
		return false
	}
}

// Any matches everything.
func Any() Match { return func(Op) bool { return true } }

// ErrInjected is the error of an injected fault.
var ErrInjected = errors.New("injected fault")

// ErrStopped is the error of every operation after a stop.
var ErrStopped = errors.New("the process is gone")

// Faults is a bucket that fails on demand around a real one.
type Faults struct {
	lake.Bucket
	mu    sync.Mutex
	fail  Match
	stop  Match
	dead  atomic.Bool
	count atomic.Int64
}

// Wrap returns b with faults: moments that fail matches give ErrInjected once, without the
// operation when before it and with it when after. From the first moment that stop matches nothing
// has any effect any more, as if the process had been killed there. Nil matches nothing.
func Wrap(b lake.Bucket, fail, stop Match) *Faults { return &Faults{Bucket: b, fail: fail, stop: stop} }

// Moments returns how many moments have passed: two per operation.
func (f *Faults) Moments() int { return int(f.count.Load()) }

// Heal ends the injection of errors. A stop stays.
func (f *Faults) Heal() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail = nil
}

// Stopped reports whether the stop has come.
func (f *Faults) Stopped() bool { return f.dead.Load() }

func (f *Faults) at(o Op) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.dead.Load() {
		return ErrStopped
	}
	f.count.Add(1)
	if f.stop != nil && f.stop(o) {
		f.dead.Store(true)
		return ErrStopped
	}
	if f.fail != nil && f.fail(o) {
		return ErrInjected
	}
	return nil
}

func (f *Faults) around(kind Kind, key string, op func() error) error {
	if err := f.at(Op{kind, key, false}); err != nil {
		return err
	}
	err := op()
	if aerr := f.at(Op{kind, key, true}); aerr != nil {
		return aerr
	}
	return err
}

// Put implements lake.Bucket.
func (f *Faults) Put(ctx context.Context, key string, r io.Reader) error {
	return f.around(Put, key, func() error { return f.Bucket.Put(ctx, key, r) })
}

// PutFile implements lake.Bucket.
func (f *Faults) PutFile(ctx context.Context, key, path string) error {
	return f.around(PutFile, key, func() error { return f.Bucket.PutFile(ctx, key, path) })
}

// Open implements lake.Bucket.
func (f *Faults) Open(ctx context.Context, key string) (o lake.Object, err error) {
	err = f.around(Open, key, func() error { o, err = f.Bucket.Open(ctx, key); return err })
	if err != nil && o != nil {
		err = errors.Join(err, o.Close())
	}
	return o, err
}

// Stat implements lake.Bucket.
func (f *Faults) Stat(ctx context.Context, key string) (info lake.Info, err error) {
	err = f.around(Stat, key, func() error { info, err = f.Bucket.Stat(ctx, key); return err })
	return info, err
}

// Delete implements lake.Bucket.
func (f *Faults) Delete(ctx context.Context, key string) error {
	return f.around(Delete, key, func() error { return f.Bucket.Delete(ctx, key) })
}

// List implements lake.Bucket.
func (f *Faults) List(ctx context.Context, prefix string) iter.Seq2[lake.Info, error] {
	return func(yield func(lake.Info, error) bool) {
		if err := f.at(Op{List, prefix, false}); err != nil {
			yield(lake.Info{}, err)
			return
		}
		f.Bucket.List(ctx, prefix)(yield)
	}
}
