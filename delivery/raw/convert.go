package raw

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/duck"
)

// convert writes the records of a run into a Parquet file and returns its size.
func (t *Table) convert(ctx context.Context, r Run, v View, path string) (int64, error) {
	lines := strings.TrimSuffix(path, ".parquet") + ".ndjson"
	defer os.Remove(lines)
	longest, err := t.writeLines(ctx, r, v, lines)
	if err != nil {
		return 0, err
	}
	heavy := t.cache.cfg.Heavy
	if err := heavy.Acquire(ctx, 1); err != nil {
		return 0, err
	}
	defer heavy.Release(1)
	record := "r"
	if v.opaque {
		record = "from_base64(r)"
	}
	sql := fmt.Sprintf("SELECT '%[1]d:' || o AS position, %[1]d::INTEGER AS shard, o AS record_offset, make_timestamp(a) AS arrival, k AS partition_key, %[2]s AS record FROM %[3]s",
		r.Shard, record, duck.ReadNDJSON([]string{lines}, lineColumns, longest))
	files, err := t.cache.cfg.Duck.Copy(ctx, sql, duck.CopyOptions{Path: path, FieldIDs: v.Schema})
	if err != nil {
		return 0, fmt.Errorf("convert the raw objects %d:%d to %d:%d of %s: %w", r.Shard, r.First, r.Shard, r.Next-1, t.stream, err)
	}
	if len(files) != 1 || files[0].Rows != r.Records {
		return 0, &tarn.Error{Code: tarn.CodeConflict, Detail: fmt.Sprintf("the raw backup of %s lost objects to its lifecycle meanwhile", t.stream), Hint: "run the statement again"}
	}
	return files[0].Bytes, nil
}

// lineColumns are the members of the lines that records travel in to DuckDB.
var lineColumns = tarn.Schema{Fields: []tarn.Field{
	{Name: "o", Type: tarn.Type{Kind: tarn.Long}}, {Name: "a", Type: tarn.Type{Kind: tarn.Long}},
	{Name: "k", Type: tarn.Type{Kind: tarn.String}}, {Name: "r", Type: tarn.Type{Kind: tarn.String}},
}}

// writeLines writes the records of a run as lines of JSON and returns the length of the longest.
func (t *Table) writeLines(ctx context.Context, r Run, v View, path string) (longest int, err error) {
	f, err := os.Create(path)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	out := bufio.NewWriterSize(f, 256<<10)
	var line []byte
	for rec, err := range t.Records(ctx, Select{Shards: []int{r.Shard}, From: r.First, To: r.Next}) {
		if err != nil {
			return 0, err
		}
		line = appendLine(line[:0], rec, v.opaque)
		longest = max(longest, len(line))
		if _, err := out.Write(line); err != nil {
			return 0, err
		}
	}
	return longest, out.Flush()
}

// appendLine appends a record as a line of JSON.
func appendLine(dst []byte, r Record, opaque bool) []byte {
	dst = strconv.AppendUint(append(dst, `{"o":`...), r.Position.Offset, 10)
	dst = strconv.AppendInt(append(dst, `,"a":`...), r.Arrival.UnixMicro(), 10)
	if r.Key != "" {
		dst = appendString(append(dst, `,"k":`...), strings.ToValidUTF8(r.Key, "\uFFFD"))
	}
	dst = append(dst, `,"r":`...)
	if opaque {
		dst = base64.StdEncoding.AppendEncode(append(dst, '"'), r.Bytes)
		dst = append(dst, '"')
	} else {
		dst = appendString(dst, r.Bytes)
	}
	return append(dst, '}', '\n')
}

// appendString appends valid UTF-8 as a JSON string.
func appendString[T string | []byte](dst []byte, s T) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	from := 0
	for i := range len(s) {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		dst = append(dst, s[from:i]...)
		from = i + 1
		if c < ' ' {
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		} else {
			dst = append(dst, '\\', c)
		}
	}
	return append(append(dst, s[from:]...), '"')
}
