package catalog

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/duck"
)

// content is what looking into a file has told.
type content struct {
	layout      Layout
	rows        int64  // -1 unknown
	fingerprint string // "" for large files
}

// The bounds of looking into one file.
const (
	hashBytes   = 8 << 20  // larger files are told apart by size and time only
	scanBytes   = 64 << 20 // larger text files are not read to their end
	sampleRows  = 200_000  // but so far
	objectBytes = 16 << 20 // one JSON object
)

// inspect looks into a file. A refusal says why the file is in no table; other errors end the crawl.
func (c *crawl) inspect(ctx context.Context, f found) (content, error) {
	r := content{rows: -1}
	file, err := c.root.Open(f.path)
	if err != nil {
		return r, refuse(Unreadable, "the operating system does not let it be read")
	}
	defer file.Close()
	head := make([]byte, min(f.size, headBytes))
	if _, err := io.ReadFull(file, head); err != nil {
		return r, refuse(Unreadable, "it cannot be read to the end: it is changing, or the disk fails")
	}
	shape, err := Detect(f.path, head, int64(len(head)) == f.size)
	if err != nil {
		return r, err
	}
	if f.size <= hashBytes || shape.Format == Avro {
		if r.fingerprint, err = fingerprint(file); err != nil {
			return r, refuse(Unreadable, "it cannot be read to the end")
		}
	}
	if err := wholeArchive(ctx, file, shape.Compression); err != nil {
		return r, err
	}
	r.layout = Layout{Format: shape.Format, Compression: shape.Compression, Encoding: shape.Encoding, Array: shape.Array}
	full := c.full(f.path)
	switch shape.Format {
	case Parquet:
		if err = wholeParquet(file, f.size); err == nil {
			err = c.parquet(ctx, full, &r)
		}
	case Avro:
		var converted string
		if converted, err = c.convert(ctx, file, f.path, r.fingerprint); err == nil {
			err = c.parquet(ctx, converted, &r)
		}
	case JSON, NDJSON:
		err = c.json(ctx, full, f.size, &r)
	default:
		err = c.csv(ctx, full, f.size, shape.Weak, &r)
	}
	return r, err
}

// full is the absolute path of a file, as DuckDB opens it.
func (c *crawl) full(name string) string {
	return filepath.Join(c.list.root, filepath.FromSlash(name))
}

func fingerprint(file *os.File) (string, error) {
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return "", err
	}
	h := sha256.New()
	if _, err := io.Copy(h, file); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// wholeArchive unpacks a compressed file to its end: DuckDB takes one that was cut off for whole.
func wholeArchive(ctx context.Context, file *os.File, compression string) error {
	if compression == "" {
		return nil
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return refuse(Unreadable, "it cannot be read to the end")
	}
	r, err := unpacker(file, compression)
	if err == nil {
		defer r.Close()
		for err == nil && ctx.Err() == nil { // it may be of any size
			_, err = io.CopyN(io.Discard, r, 16<<20)
		}
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, io.EOF):
		return nil
	case errors.Is(err, io.ErrUnexpectedEOF):
		return refuse(Unfinished, "its "+compression+" data is cut off, or still being written")
	case err != nil:
		return refuse(Malformed, "its "+compression+" data is broken")
	}
	return nil
}

func wholeParquet(file *os.File, size int64) error {
	var end [4]byte
	if size < 12 {
		return refuse(Unfinished, "it is Parquet without its footer")
	}
	if _, err := file.ReadAt(end[:], size-4); err != nil || string(end[:]) != "PAR1" {
		return refuse(Unfinished, "it is Parquet without its footer: cut off, or still being written")
	}
	return nil
}

// broken turns an error of reading into a refusal, unless it says nothing about the file.
func broken(ctx context.Context, err error) error {
	if err == nil || ctx.Err() != nil {
		return err
	}
	var known *refusal
	if errors.As(err, &known) {
		return err
	}
	switch tarn.CodeOf(err) {
	case tarn.CodeTooLarge, tarn.CodeUnavailable, tarn.CodeCanceled, tarn.CodeTimeout:
		return err
	}
	text := err.Error()
	if f := duck.FaultOf(err); f != nil {
		text = f.Message
	}
	text, _, _ = strings.Cut(strings.TrimSpace(text), "\n\n")
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > 300 {
		text = strings.ToValidUTF8(text[:300], "") + " …"
	}
	return refuse(Malformed, text)
}

func (c *crawl) parquet(ctx context.Context, full string, r *content) error {
	cols, err := c.db.Columns(ctx, "SELECT * FROM read_parquet("+tarn.QuoteLiteral(full)+", hive_partitioning=false)")
	if err != nil {
		return broken(ctx, err)
	}
	for _, col := range cols {
		r.layout.Columns = append(r.layout.Columns, FileColumn{Name: col.Name, Type: col.SQL})
	}
	v, err := c.db.Values(ctx, "SELECT coalesce(sum(num_rows), 0)::BIGINT FROM parquet_file_metadata("+tarn.QuoteLiteral(full)+")")
	if err != nil {
		return broken(ctx, err)
	}
	r.rows, _ = v[0][0].(int64)
	return nil
}

func (c *crawl) json(ctx context.Context, full string, size int64, r *content) error {
	sample := int64(-1)
	if size > scanBytes {
		sample = sampleRows
	}
	from := readJSONAuto(full, size, r.layout, sample)
	cols, err := c.db.Columns(ctx, "SELECT * FROM "+from)
	if err != nil {
		return broken(ctx, err)
	}
	for _, col := range cols {
		r.layout.Columns = append(r.layout.Columns, FileColumn{Name: col.Name, Type: col.SQL})
	}
	r.layout.Columns = withoutTwins(r.layout.Columns)
	if err := c.count(ctx, readJSON([]string{full}, size, r.layout, r.layout.Columns, nil), size, r, func(int) bool { return true }); err != nil {
		return broken(ctx, err)
	}
	if size > scanBytes {
		return nil
	}
	return broken(ctx, c.withoutNulls(ctx, full, size, r))
}

func (c *crawl) csv(ctx context.Context, full string, size int64, weak bool, r *content) error {
	sample := int64(-1)
	if size > scanBytes {
		sample = sampleRows
	}
	v, err := c.db.Values(ctx, "SELECT Delimiter, Quote, Escape, NewLineDelimiter, Comment, SkipRows::BIGINT, HasHeader, DateFormat, TimestampFormat, "+
		"list_transform(Columns, lambda c: c.name), list_transform(Columns, lambda c: c.type) FROM "+sniffCSV(full, r.layout, sample))
	if err != nil {
		return broken(ctx, err)
	}
	row := v[0]
	d := &Dialect{Delimiter: shown(row[0]), Quote: shown(row[1]), Escape: shown(row[2]), Comment: shown(row[4]), Date: isoIsDefault(shown(row[7])), Timestamp: isoIsDefault(shown(row[8]))}
	d.Skip, _ = row[5].(int64)
	d.Header, _ = row[6].(bool)
	if nl := shown(row[3]); nl == `\r` {
		d.NewLine = nl
	}
	names, _ := row[9].([]any)
	types, _ := row[10].([]any)
	if weak && (len(names) < 2 || d.Skip > 0) {
		return refuse(Unsupported, "it is text that does not divide into columns")
	}
	r.layout.Dialect = d
	for i := range names {
		r.layout.Columns = append(r.layout.Columns, FileColumn{Name: shown(names[i]), Type: shown(types[i])})
	}
	distinctNames(r.layout.Columns)
	return c.tryDialect(ctx, full, size, r)
}

// tryDialect reads the file as the dialect says. The sniffer names no quote where it has seen none;
// files of a folder should not differ by that, so the usual quote is tried first.
func (c *crawl) tryDialect(ctx context.Context, full string, size int64, r *content) error {
	d := *r.layout.Dialect
	isText := func(i int) bool { return r.layout.Columns[i].Type == "VARCHAR" }
	if d.Quote == "" {
		plain := *r
		usual := d
		usual.Quote, usual.Escape = `"`, `"`
		r.layout.Dialect = &usual
		if err := c.count(ctx, readCSV([]string{full}, r.layout, nil, nil), size, r, isText); err == nil || ctx.Err() != nil {
			return err
		}
		*r = plain
		r.layout.Dialect = &d
	} else if d.Escape == "" {
		d.Escape = d.Quote
		r.layout.Dialect = &d
	}
	return broken(ctx, c.count(ctx, readCSV([]string{full}, r.layout, nil, nil), size, r, isText))
}

// count reads the whole file, which shows that it can be read, counts its rows, and forgets the types
// of columns without a value: what a sniffer says of them means nothing.
func (c *crawl) count(ctx context.Context, from string, size int64, r *content, doubtful func(column int) bool) error {
	cols := r.layout.Columns
	var list strings.Builder
	for i := range cols {
		if doubtful(i) {
			name := cols[i].Name
			if r.layout.Dialect != nil {
				name = csvColumn(i)
			}
			fmt.Fprintf(&list, ", count(%s)", tarn.QuoteIdent(name))
		}
	}
	if size > scanBytes {
		from = fmt.Sprintf("(SELECT * FROM %s LIMIT %d)", from, sampleRows)
	}
	v, err := c.db.Values(ctx, "SELECT count(*)"+list.String()+" FROM "+from)
	if err != nil {
		return err
	}
	row := v[0]
	if size <= scanBytes {
		r.rows, _ = row[0].(int64)
	}
	at := 1
	for i := range cols {
		if !doubtful(i) {
			continue
		}
		if n, _ := row[at].(int64); n == 0 {
			cols[i].Type = ""
		}
		at++
	}
	return nil
}

// shown is a text value of the sniffer, which writes what is absent as (empty).
func shown(v any) string {
	s, _ := v.(string)
	if s == "(empty)" {
		return ""
	}
	return s
}

// isoIsDefault drops formats that reading without a format understands as well.
func isoIsDefault(format string) string {
	if strings.HasPrefix(format, "%Y-%m-%d") {
		return ""
	}
	return format
}

// distinctNames numbers names that differ in case only: SQL takes them for one.
func distinctNames(cols []FileColumn) {
	seen := map[string]bool{}
	for i := range cols {
		name := cols[i].Name
		for n := 1; seen[fold(name)]; n++ {
			name = fmt.Sprintf("%s_%d", cols[i].Name, n)
		}
		seen[fold(name)] = true
		cols[i].Name = name
	}
}

// withoutTwins drops keys of JSON that differ from an earlier one in case only.
func withoutTwins(cols []FileColumn) []FileColumn {
	seen := map[string]bool{}
	return slices.DeleteFunc(cols, func(c FileColumn) bool {
		twin := seen[fold(c.Name)]
		seen[fold(c.Name)] = true
		return twin
	})
}
