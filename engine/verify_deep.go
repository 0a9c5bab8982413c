package engine

import (
	"context"
	"fmt"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/duck"
	"github.com/tarn-data/tarn/server"
)

// reading is a verification that reads the content of files and objects, and says how far it is. nil
// looks at names and sizes only.
type reading struct {
	server.VerifyProgress
	on func(server.VerifyProgress)
}

// checked counts one object of a table.
func (r *reading) checked(subject string, bytes int64) {
	r.Subject = subject
	r.Objects++
	r.Bytes += bytes
	if r.on != nil {
		r.on(r.VerifyProgress)
	}
}

// VerifyDeep is Verify, and reads everything besides: each data file is decoded and its rows are those of
// its footer and of the table; each object of a raw backup has the checksums and counts of its index; each
// original of a file has the hash by which it is named. on, which may be nil, is told how far it is.
func (e *Engine) VerifyDeep(ctx context.Context, on func(server.VerifyProgress)) (server.VerifyDoc, error) {
	return e.verify(ctx, &reading{on: on})
}

// readDataFile returns what is wrong with the content of a Parquet file of so many rows, or "".
func (e *Engine) readDataFile(ctx context.Context, url string, rows int64) (string, error) {
	if err := e.heavy.Acquire(ctx, 1); err != nil { // memory for one conversion (I8)
		return "", err
	}
	defer e.heavy.Release(1)
	const footer = "SELECT num_rows FROM parquet_file_metadata(%s)"
	const content = "SELECT count(*) FROM %s t WHERE hash(t) IS NOT NULL" // every column of every row is decoded
	for _, q := range []struct{ sql, what string }{
		{fmt.Sprintf(footer, tarn.QuoteLiteral(url)), "its footer counts %d rows, the table %d"},
		{fmt.Sprintf(content, duck.ReadPlainParquet([]string{url})), "it holds %d rows, the table counts %d"},
	} {
		got, err := e.convert.Values(ctx, q.sql)
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		if err != nil {
			why := tarn.CodeOf(err)
			if f := duck.FaultOf(err); f != nil {
				return "it cannot be read: " + duck.Brief(f.Message), nil
			}
			return "it cannot be read: " + string(why), nil
		}
		if n, _ := got[0][0].(int64); n != rows {
			return fmt.Sprintf(q.what, n, rows), nil
		}
	}
	return "", nil
}

// verifyOriginals proves that the files that came are kept as they came, where the lifecycle has not
// removed them.
func (e *Engine) verifyOriginals(ctx context.Context, deep *reading, problem func(string, string, ...any)) error {
	var read func(int64)
	if deep != nil {
		read = func(bytes int64) { deep.checked("raw/files", bytes) }
	}
	return e.dropped.originals.Verify(ctx, read, func(key, why string) { problem(key, "%s", why) })
}
