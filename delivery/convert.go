package delivery

import (
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync/atomic"

	"github.com/google/uuid"
	"golang.org/x/sync/semaphore"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/duck"
	"github.com/tarn-data/tarn/lake"
	"github.com/tarn-data/tarn/table"
)

// converter runs SELECTs into Parquet: uncompressed segments for the hot tail, and partitioned
// files in their final place. It is safe for concurrent use.
type converter struct {
	db          *duck.DB
	bucket      lake.Bucket
	dir         string // for segments and files on their way to the lake; wiped at start
	compression string
	heavy       *semaphore.Weighted // see Config.Heavy
	serial      atomic.Uint64       // of file names
}

// tailRowGroup keeps segments cheap to write; they are merged before they matter to anyone else.
const tailRowGroup = 122_880

// stage writes the rows of a SELECT as one segment, or none when there are no rows.
func (cv *converter) stage(ctx context.Context, sel string, columns tarn.Schema) ([]*segment, int64, error) {
	to := filepath.Join(cv.dir, fmt.Sprintf("tail-%d.parquet", cv.serial.Add(1)))
	files, err := cv.db.Copy(ctx, sel, duck.CopyOptions{Path: to, Compression: "uncompressed", FieldIDs: columns, RowGroupRows: tailRowGroup})
	if err != nil {
		_ = os.Remove(to)
		return nil, 0, err
	}
	var segs []*segment
	var rows int64
	for _, f := range files {
		if f.Rows == 0 {
			_ = os.Remove(f.Path)
			continue
		}
		rows += f.Rows
		segs = append(segs, newSegment(dataFile(f)))
	}
	return segs, rows, nil
}

// lines writes the rows of a SELECT as JSON objects, one a line, or nothing when there are no rows.
func (cv *converter) lines(ctx context.Context, sel string) ([]*segment, int64, error) {
	to := filepath.Join(cv.dir, fmt.Sprintf("tail-%d.ndjson", cv.serial.Add(1)))
	rows, err := cv.db.CopyLines(ctx, sel, to)
	if err != nil || rows == 0 {
		_ = os.Remove(to)
		return nil, 0, err
	}
	return []*segment{newSegment(table.DataFile{Path: to, Rows: rows})}, rows, nil
}

// final writes the rows of a SELECT as partitioned files in the lake. They are durable when final
// returns (I4), and belong to nobody until a commit names them: after a crash the table's orphan
// removal takes them.
func (cv *converter) final(ctx context.Context, sel string, columns tarn.Schema, parts []part, st *table.State) ([]table.DataFile, int64, error) {
	out := filepath.Join(cv.dir, fmt.Sprintf("out-%d", cv.serial.Add(1)))
	defer os.RemoveAll(out)
	sel, by := withPartitions(sel, parts)
	to := out
	if len(by) == 0 {
		if err := os.MkdirAll(out, 0o755); err != nil {
			return nil, 0, err
		}
		to = filepath.Join(out, "rows.parquet")
	}
	done, err := cv.slot(ctx)
	if err != nil {
		return nil, 0, err
	}
	written, err := cv.db.Copy(ctx, sel, duck.CopyOptions{Path: to, PartitionBy: by, Compression: cv.compression, FieldIDs: columns})
	done() // others convert while these files are made durable
	if err != nil {
		return nil, 0, err
	}
	var files []table.DataFile
	var moves []lake.Local
	var rows int64
	for _, w := range written {
		if w.Rows == 0 {
			continue
		}
		f := dataFile(w)
		if f.Partition, err = cv.partitionValues(ctx, st, parts, by, w); err != nil {
			return nil, 0, err
		}
		key := path.Join(st.Prefix, table.PartitionPath(st.Partition, f.Partition), uuid.NewString()+".parquet")
		moves = append(moves, lake.Local{Key: key, Path: w.Path})
		f.Path = cv.bucket.URL(key)
		rows += w.Rows
		files = append(files, f)
	}
	return files, rows, lake.PutFiles(ctx, cv.bucket, moves)
}

// dataFile carries DuckDB's statistics over to the table's form, by field id.
func dataFile(w duck.WrittenFile) table.DataFile {
	f := table.DataFile{Path: w.Path, Rows: w.Rows, Bytes: w.Bytes, Columns: make(map[int]table.ColumnStats, len(w.Columns))}
	for _, c := range w.Columns {
		if c.ID == 0 {
			continue
		}
		s := table.ColumnStats{Values: c.Values, Nulls: c.Nulls, NaNs: -1, Bytes: c.Bytes, Lower: c.Lower, Upper: c.Upper}
		if c.NaNKnown && !c.HasNaN {
			s.NaNs = 0
		} else if c.HasNaN {
			s.Lower, s.Upper = nil, nil // bounds say nothing about NaN
		}
		f.Columns[c.ID] = s
	}
	return f
}

// partitionValues returns the partition values of a file that DuckDB has written: read from the name
// of its folder, or for texts, whose folder has a digest for a name, from its first row.
func (cv *converter) partitionValues(ctx context.Context, st *table.State, parts []part, by []string, w duck.WrittenFile) ([]any, error) {
	if len(by) == 0 {
		return nil, nil
	}
	values := make([]any, len(by))
	for i, name := range by {
		s := w.Partition[name]
		if s == nil {
			continue
		}
		if parts[i].text {
			row, err := cv.db.Values(ctx, "SELECT "+parts[i].expr+" FROM "+duck.ReadPlainParquet([]string{w.Path})+" LIMIT 1")
			if err != nil {
				return nil, err
			}
			values[i] = row[0][0]
			continue
		}
		f := st.Partition[i]
		col := st.Schema.Lookup(f.Source)
		if col == nil {
			return nil, fmt.Errorf("table %s has no column %q for partition %s", st.Name, f.Source, f)
		}
		v, err := table.ParsePartitionValue(f, col.Type, *s)
		if err != nil {
			return nil, fmt.Errorf("partition %s of table %s: %w", f, st.Name, err)
		}
		values[i] = v
	}
	return values, nil
}

// slot waits for one of the slots for conversions that need much memory, and returns what frees it.
func (cv *converter) slot(ctx context.Context) (free func(), err error) { return cv.slots(ctx, 1) }

// alone waits until no other such conversion runs, and keeps them away until freed.
func (cv *converter) alone(ctx context.Context) (free func(), err error) {
	return cv.slots(ctx, HeavySlots)
}

func (cv *converter) slots(ctx context.Context, n int64) (free func(), err error) {
	if err := cv.heavy.Acquire(ctx, n); err != nil {
		return nil, err
	}
	return func() { cv.heavy.Release(n) }, nil
}

// partitionsAtOnce is how many partitions one COPY may have open: each takes memory of its own,
// however few rows it gets.
const partitionsAtOnce = 128

// merge is final over Parquet files, which can be read several times: more partitions than fit into
// memory are written group by group.
func (cv *converter) merge(ctx context.Context, sel string, columns tarn.Schema, parts []part, st *table.State) ([]table.DataFile, int64, error) {
	if len(parts) == 0 {
		return cv.final(ctx, sel, columns, parts, st)
	}
	exprs := make([]string, len(parts))
	for i, p := range parts {
		exprs[i] = p.expr
	}
	key := strings.Join(exprs, ", ")
	rows, err := cv.db.Values(ctx, "SELECT count(*) FROM (SELECT DISTINCT "+key+" FROM ("+sel+"\n))")
	if err != nil {
		return nil, 0, err
	}
	partitions, _ := rows[0][0].(int64)
	for groups := (partitions + partitionsAtOnce - 1) / partitionsAtOnce; ; groups *= 4 {
		files, n, err := cv.mergeGroups(ctx, sel, key, max(groups, 1), columns, parts, st)
		if tarn.CodeOf(err) != tarn.CodeTooLarge || groups >= partitions {
			return files, n, err
		}
		groups = max(groups, 1)
	}
}

// mergeGroups writes the partitions in groups. After an error nothing of it is left in the lake.
func (cv *converter) mergeGroups(ctx context.Context, sel, key string, groups int64, columns tarn.Schema, parts []part, st *table.State) ([]table.DataFile, int64, error) {
	var files []table.DataFile
	var rows int64
	for g := range groups {
		one := sel
		if groups > 1 {
			one = fmt.Sprintf("SELECT * FROM (%s\n) WHERE hash(%s) %% %d = %d", sel, key, groups, g)
		}
		more, n, err := cv.final(ctx, one, columns, parts, st)
		files, rows = append(files, more...), rows+n
		if err != nil {
			for _, f := range files {
				if k, ok := cv.bucket.Key(f.Path); ok {
					_ = cv.bucket.Delete(context.WithoutCancel(ctx), k) // never named by anything
				}
			}
			return nil, 0, err
		}
	}
	return files, rows, nil
}
