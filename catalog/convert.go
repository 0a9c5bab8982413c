package catalog

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/twmb/avro/ocf"

	"github.com/tarn-data/tarn"
)

// converted is the Parquet file for what is in source. Its folder says the content, and repeats the
// Hive partitions of the source, which DuckDB reads off the path.
func (c *Catalog) converted(source, fingerprint string) string {
	parts := []string{c.o.Cache, fingerprint}
	dir, _ := filepath.Split(source)
	for part := range strings.SplitSeq(filepath.ToSlash(dir), "/") {
		if _, ok := hive(part); ok {
			parts = append(parts, part)
		}
	}
	return filepath.Join(append(parts, "data.parquet")...)
}

// convert writes what an Avro file holds as Parquet, unless that has been done, and returns where.
func (c *crawl) convert(ctx context.Context, in *os.File, name, fingerprint string) (string, error) {
	to := c.cat.converted(c.full(name), fingerprint)
	if _, err := os.Stat(to); err == nil {
		return to, nil
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return "", cacheError(err)
	}
	if _, err := in.Seek(0, io.SeekStart); err != nil {
		return "", refuse(Unreadable, "it cannot be read to the end")
	}
	tmp, err := os.MkdirTemp(c.cat.o.Cache, "converting-")
	if err != nil {
		return "", cacheError(err)
	}
	defer func() { _ = os.RemoveAll(tmp) }()
	lines, parquet := filepath.Join(tmp, "rows.ndjson"), filepath.Join(tmp, "data.parquet")
	fields, err := avroToJSON(ctx, in, lines)
	if err != nil {
		return "", err
	}
	var columns []FileColumn
	var list []string
	for _, f := range fields {
		columns = append(columns, FileColumn{Name: f.Name, Type: asText(f.Type).SQL()})
		list = append(list, fmt.Sprintf("CAST(%[1]s AS %[2]s) AS %[1]s", tarn.QuoteIdent(f.Name), f.Type.SQL()))
	}
	from := readJSON([]string{lines}, objectBytes, Layout{Format: NDJSON}, columns, nil)
	if err := c.db.Exec(ctx, "COPY (SELECT "+strings.Join(list, ", ")+" FROM "+from+") TO "+tarn.QuoteLiteral(parquet)+" (FORMAT parquet, COMPRESSION zstd)"); err != nil {
		return "", broken(ctx, err)
	}
	if err := errors.Join(syncFile(parquet), os.Rename(parquet, to)); err != nil { // I4: whole before it has its name
		return "", cacheError(err)
	}
	return to, nil
}

func syncFile(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func cacheError(err error) error {
	return &tarn.Error{Code: tarn.CodeUnavailable, Detail: "a converted file cannot be written", Hint: "is the disk full?", Err: err}
}

// avroToJSON copies the records to a file, one at a time (I8), and returns their columns.
func avroToJSON(ctx context.Context, in io.Reader, to string) (fields []tarn.Field, err error) {
	bad := func(err error) error { return refuse(Malformed, "it is Avro that cannot be read: "+err.Error()) }
	r, err := ocf.NewReader(bufio.NewReaderSize(in, 1<<20))
	if err != nil {
		return nil, bad(err)
	}
	defer r.Close()
	if fields, err = avroColumns(r.Schema().Root()); err != nil {
		return nil, err
	}
	out, err := os.Create(to)
	if err != nil {
		return nil, cacheError(err)
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	w := bufio.NewWriterSize(out, 1<<20)
	row := tarn.Type{Kind: tarn.Struct, Fields: fields}
	var line []byte
	for n := 0; ; n++ {
		if n%1000 == 0 && ctx.Err() != nil {
			return nil, &tarn.Error{Code: tarn.CodeCanceled, Detail: "the crawl was cancelled", Err: ctx.Err()}
		}
		var v any
		if err := r.Decode(&v); err == io.EOF {
			break
		} else if err != nil {
			return nil, bad(err)
		}
		if line, err = appendAvro(line[:0], v, row); err != nil {
			return nil, bad(err)
		}
		if _, err := w.Write(append(line, '\n')); err != nil {
			return nil, cacheError(err)
		}
	}
	if err := w.Flush(); err != nil {
		return nil, cacheError(err)
	}
	return fields, nil
}
