package twin

import "context"

// Tend does once what Store.Run does for a twin all the time.
func Tend(ctx context.Context, t *Twin) {
	for more := true; more; {
		more, _ = t.tend(ctx)
	}
}
