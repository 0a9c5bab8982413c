package duck

import (
	"context"
	"strings"
)

// lineBuffer is the memory that DuckDB counts for a statement which reads NDJSON, however small the file and
// the bound on its records are: a piece of twice 16 MiB.
const lineBuffer = 32 << 20

// lineReaders is how many such statements may run at once in an instance: each has half of its buffer
// besides for what it does with the rows (I8).
func lineReaders(memoryBytes int64) int { return int(max(1, memoryBytes/(lineBuffer*3/2))) }

// readsLines reports whether a statement holds what ReadNDJSON returns.
func readsLines(sql string) bool { return strings.Contains(sql, linesFormat) }

const linesFormat = "format='newline_delimited', records=true, hive_partitioning=false"

// admit waits until a statement may run, and returns what is to be called behind it. It is asked right
// before a statement runs to its end, so that those waited for wait for nothing here.
func (d *DB) admit(ctx context.Context, sql string) (done func(), err error) {
	if !readsLines(sql) {
		return func() {}, nil
	}
	select {
	case d.lines <- struct{}{}:
		return func() { <-d.lines }, nil
	case <-ctx.Done():
		return nil, ctxError(ctx, nil)
	}
}
