package duck

import "testing"

func open(t testing.TB, o Options) *DB {
	t.Helper()
	if o.Threads == 0 {
		o.Threads = 2
	}
	d, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}
