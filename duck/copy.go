package duck

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/tarn-data/tarn"
)

// CopyOptions says how Copy writes.
type CopyOptions struct {
	Path string // the file, or the folder when PartitionBy is set; its parent exists

	// PartitionBy names columns of the SELECT that part the rows into folders name=value/…. These
	// columns are not written into the files: give synthetic ones beside the real.
	PartitionBy []string
	// FilePattern names the files under a partition, for example "part-{uuidv7}"; default that.
	FilePattern string

	Compression  string      // snappy (default), zstd, uncompressed
	FieldIDs     tarn.Schema // the columns written, by name, with their Iceberg ids
	RowGroupRows int         // 0 = DuckDB's 122,880
	Args         []any       // parameters of the SELECT
}

// WrittenFile is one finished Parquet file. It is not fsynced: whoever names it in metadata does
// that first (I4).
type WrittenFile struct {
	Path        string
	Rows        int64
	Bytes       int64
	FooterBytes int64
	Partition   map[string]*string    // PartitionBy column → text of its value, nil for NULL
	Columns     map[string]ColumnStat // leaf columns by quoted path: "m"."a", "l"."element"
}

// ColumnStat are the statistics of one leaf column in one file.
type ColumnStat struct {
	ID           int   // of the field in CopyOptions.FieldIDs, 0 when it has none
	Values       int64 // including NULLs
	Nulls        int64
	Bytes        int64   // in the file, compressed
	Min, Max     *string // DuckDB's text, nil when unknown
	Lower, Upper any     // bounds in the forms of Rows.Row, nil when unknown or the field has no ID
	HasNaN       bool
	NaNKnown     bool // false for columns that are not floating point
}

// Copy runs a SELECT into Parquet and returns the files written, at most one per partition unless
// more partitions are open at once than Options.MaxOpenPartitions. A SELECT without rows writes one
// empty file, or none with PartitionBy. On error files may be left behind; the caller removes Path.
func (d *DB) Copy(ctx context.Context, selectSQL string, o CopyOptions) ([]WrittenFile, error) {
	c, err := d.Conn(ctx)
	if err != nil {
		return nil, err
	}
	defer c.Release()
	return c.Copy(ctx, selectSQL, o)
}

// Copy is DB.Copy on this connection, whose temporary tables the SELECT may read.
func (c *Conn) Copy(ctx context.Context, selectSQL string, o CopyOptions) ([]WrittenFile, error) {
	sql, err := o.statement(selectSQL)
	if err != nil {
		return nil, err
	}
	rows, err := c.Values(ctx, sql, o.Args...)
	if err != nil {
		return nil, err
	}
	leaves := leafFields(o.FieldIDs)
	files := make([]WrittenFile, 0, len(rows))
	for _, r := range rows {
		f, err := writtenFile(r, leaves)
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	return files, nil
}

// CopyLines runs a SELECT into a file of JSON objects, one a line, and returns how many. On error the
// file may be left behind.
func (d *DB) CopyLines(ctx context.Context, selectSQL, path string) (rows int64, err error) {
	counts, err := d.Values(ctx, "COPY ("+selectSQL+"\n) TO "+tarn.QuoteLiteral(path)+" (FORMAT json)")
	if err != nil {
		return 0, err
	}
	rows, _ = counts[0][0].(int64)
	return rows, nil
}

func (o CopyOptions) statement(selectSQL string) (string, error) {
	codec := strings.ToLower(o.Compression)
	switch codec {
	case "":
		codec = "snappy"
	case "snappy", "zstd", "uncompressed":
	default:
		return "", &tarn.Error{Code: tarn.CodeInvalid, Detail: fmt.Sprintf("%q is not a compression", o.Compression), Hint: "use snappy, zstd or uncompressed"}
	}
	opts := []string{"FORMAT parquet", "RETURN_STATS true", "COMPRESSION " + codec}
	if ids := FieldIDs(o.FieldIDs); ids != "{}" {
		opts = append(opts, "FIELD_IDS "+ids)
	}
	if o.RowGroupRows > 0 {
		opts = append(opts, "ROW_GROUP_SIZE "+strconv.Itoa(o.RowGroupRows))
	}
	if len(o.PartitionBy) > 0 {
		cols := make([]string, len(o.PartitionBy))
		for i, p := range o.PartitionBy {
			cols[i] = tarn.QuoteIdent(p)
		}
		pattern := o.FilePattern
		if pattern == "" {
			pattern = "part-{uuidv7}"
		}
		opts = append(opts, "PARTITION_BY ("+strings.Join(cols, ", ")+")", "FILENAME_PATTERN "+tarn.QuoteLiteral(pattern), "OVERWRITE_OR_IGNORE true")
	}
	return "COPY (" + selectSQL + "\n) TO " + tarn.QuoteLiteral(o.Path) + " (" + strings.Join(opts, ", ") + ")", nil
}

// writtenFile reads one row of COPY … (RETURN_STATS): filename, count, file_size_bytes,
// footer_size_bytes, column_statistics, partition_keys.
func writtenFile(row []any, leaves map[string]tarn.Field) (WrittenFile, error) {
	var f WrittenFile
	if len(row) != 6 {
		return f, &tarn.Error{Code: tarn.CodeInternal, Detail: fmt.Sprintf("COPY returned %d columns of statistics", len(row))}
	}
	f.Path, _ = row[0].(string)
	f.Rows, f.Bytes, f.FooterBytes = integer(row[1]), integer(row[2]), integer(row[3])
	stats, _ := row[4].(map[string]any)
	f.Columns = make(map[string]ColumnStat, len(stats))
	for path, v := range stats {
		m, _ := v.(map[string]any)
		f.Columns[path] = columnStat(m, leaves[path])
	}
	keys, _ := row[5].(map[string]any)
	if len(keys) > 0 {
		f.Partition = make(map[string]*string, len(keys))
	}
	for k, v := range keys {
		f.Partition[k] = text(v)
	}
	return f, nil
}

func columnStat(m map[string]any, field tarn.Field) ColumnStat {
	s := ColumnStat{ID: field.ID, Values: integer(m["num_values"]), Nulls: integer(m["null_count"]), Bytes: integer(m["column_size_bytes"]),
		Min: text(m["min"]), Max: text(m["max"])}
	if nan := text(m["has_nan"]); nan != nil {
		s.NaNKnown, s.HasNaN = true, *nan == "true"
	}
	if field.ID != 0 {
		s.Lower, s.Upper = bound(field.Type, s.Min), bound(field.Type, s.Max)
	}
	return s
}

func text(v any) *string {
	if s, ok := v.(string); ok {
		return &s
	}
	return nil
}

func integer(v any) int64 {
	switch v := v.(type) {
	case int64:
		return v
	case uint64:
		return int64(v)
	case string:
		n, err := strconv.ParseInt(v, 10, 64)
		if err == nil {
			return n
		}
	}
	return 0
}

// leafFields returns the leaf fields of a schema by the path DuckDB's statistics give them.
func leafFields(s tarn.Schema) map[string]tarn.Field {
	m := map[string]tarn.Field{}
	var walk func(path string, f tarn.Field)
	walk = func(path string, f tarn.Field) {
		switch f.Type.Kind {
		case tarn.Struct:
			for _, k := range f.Type.Fields {
				walk(path+"."+tarn.QuoteIdent(k.Name), k)
			}
		case tarn.List:
			walk(path+`."element"`, *f.Type.Elem)
		case tarn.Map:
			walk(path+`."key"`, *f.Type.Key)
			walk(path+`."value"`, *f.Type.Elem)
		default:
			m[path] = f
		}
	}
	for _, f := range s.Fields {
		walk(tarn.QuoteIdent(f.Name), f)
	}
	return m
}
