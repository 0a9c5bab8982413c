package bench

import (
	"cmp"
	"slices"
	"time"
)

// quantile returns the nearest-rank q-quantile of values, which it sorts; 0 for none.
func quantile[T cmp.Ordered](values []T, q float64) T {
	if len(values) == 0 {
		var zero T
		return zero
	}
	slices.Sort(values)
	return values[min(int(q*float64(len(values))), len(values)-1)]
}

// median returns the middle of values, and for an even number the lower of the two; it leaves values
// in their order.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[(len(sorted)-1)/2]
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func perSecond(n int64, d time.Duration) float64 { return float64(n) / d.Seconds() }
