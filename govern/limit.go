package govern

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// maxBuckets bounds the callers whose rates are remembered (I8).
const maxBuckets = 10_000

// Limiter counts requests by caller in token buckets. A nil Limiter limits nothing. It is safe for
// concurrent use.
type Limiter struct {
	perSecond rate.Limit
	burst     int
	now       func() time.Time

	mu      sync.Mutex
	buckets map[string]*rate.Limiter
}

// NewLimiter returns a limiter that grants each caller perSecond requests a second, and burst at once; nil
// when perSecond is 0.
func NewLimiter(perSecond float64, burst int, now func() time.Time) *Limiter {
	if perSecond <= 0 {
		return nil
	}
	if now == nil {
		now = time.Now
	}
	return &Limiter{perSecond: rate.Limit(perSecond), burst: max(burst, 1), now: now, buckets: map[string]*rate.Limiter{}}
}

// Take counts one request of a caller. It returns how long the caller must wait, 0 when the request may go on.
func (l *Limiter) Take(caller string) time.Duration {
	if l == nil {
		return 0
	}
	now := l.now()
	b := l.bucket(caller, now)
	if b.AllowN(now, 1) {
		return 0
	}
	missing := 1 - b.TokensAt(now)
	return max(time.Duration(missing/float64(l.perSecond)*float64(time.Second)), time.Millisecond)
}

// Exhausted reports whether the next Take of a caller would be refused.
func (l *Limiter) Exhausted(caller string) bool {
	if l == nil {
		return false
	}
	now := l.now()
	return l.bucket(caller, now).TokensAt(now) < 1
}

func (l *Limiter) bucket(caller string, now time.Time) *rate.Limiter {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.buckets[caller]
	if b == nil {
		if len(l.buckets) >= maxBuckets {
			l.forget(now)
		}
		b = rate.NewLimiter(l.perSecond, l.burst)
		l.buckets[caller] = b
	}
	return b
}

// forget drops full buckets, which are as good as new ones, and else an eighth of the others.
func (l *Limiter) forget(now time.Time) {
	for k, b := range l.buckets {
		if b.TokensAt(now) >= float64(l.burst) {
			delete(l.buckets, k)
		}
	}
	for k := range l.buckets {
		if len(l.buckets) <= maxBuckets*7/8 {
			return
		}
		delete(l.buckets, k)
	}
}
