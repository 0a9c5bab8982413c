package duck

import (
	"context"
	"testing"
)

// BenchmarkConnection shows what a kept connection saves over a fresh one, for the smallest statement.
func BenchmarkConnection(b *testing.B) {
	d := open(b, Options{})
	ctx := context.Background()
	for name, done := range map[string]func(*Conn){"kept": (*Conn).Release, "fresh": func(c *Conn) { c.Close() }} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				c, err := d.Conn(ctx)
				if err != nil {
					b.Fatal(err)
				}
				if err := c.Exec(ctx, "SELECT 1"); err != nil {
					b.Fatal(err)
				}
				done(c)
			}
		})
	}
}

// BenchmarkOpen starts and closes an instance.
func BenchmarkOpen(b *testing.B) {
	for b.Loop() {
		d, err := Open(Options{MemoryBytes: 64 << 20, Threads: 1})
		if err != nil {
			b.Fatal(err)
		}
		d.Close()
	}
}

// BenchmarkCheckSelect judges a transform.
func BenchmarkCheckSelect(b *testing.B) {
	d := open(b, Options{})
	for b.Loop() {
		if _, err := d.CheckSelect(context.Background(), "SELECT id, ts, metrics.speed AS speed, upper(status) AS status FROM records WHERE id IS NOT NULL"); err != nil {
			b.Fatal(err)
		}
	}
}
