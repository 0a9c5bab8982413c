package decode

import (
	"bytes"
	"errors"
	"io"
	"path"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/tarn-data/tarn"
)

// lookBytes is how much of a file, decompressed, Look looks at.
const lookBytes = 1 << 20

// lookRows is how many rows decide the kinds of CSV columns.
const lookRows = 10_000

// Look finds out how to read a file. recordBytes bounds one record. Only the beginning of in.Data is
// read. The error is a *tarn.Error that says why the file cannot be read at all.
//
// The first bytes decide before the name: Parquet and Avro have their marks, and so have gzip and
// zstd. Then the name counts (.csv, .tsv, .json, .ndjson, .jsonl, .txt, .log, before .gz or .zst), but
// .json with a record on each line is NDJSON. A file of another name is JSON when it begins with {
// or [, CSV when a delimiter parts its first lines into equally many fields, and text otherwise.
func Look(in Input, h Hints, recordBytes int) (Plan, error) {
	p := Plan{Format: h.Format, Encoding: h.Encoding, RecordBytes: recordBytes}
	if p.Encoding == "utf-8" {
		p.Encoding = ""
	}
	start := make([]byte, 4)
	n, err := io.ReadFull(in.Data, start)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return p, &tarn.Error{Code: tarn.CodeUnavailable, Detail: "the file cannot be read", Err: err}
	}
	start = start[:n]
	p.Compression = compressionOf(start)
	plain, err := decompress(io.MultiReader(bytes.NewReader(start), in.Data), p.Compression)
	if err != nil {
		return p, err
	}
	defer plain.Close()
	head, whole, err := readHead(plain, lookBytes)
	if err != nil && len(head) == 0 {
		return p, err
	}
	if err := p.binary(head); err != nil || p.Format == Parquet || p.Format == Avro {
		return p, err
	}
	if p.Encoding == "" && (bytes.HasPrefix(head, []byte("\xff\xfe")) || bytes.HasPrefix(head, []byte("\xfe\xff"))) {
		p.Encoding = "utf-16"
	}
	if p.Encoding == "utf-16" {
		head = head[:len(head)&^1] // not half a letter
	}
	text, err := io.ReadAll(transcode(bytes.NewReader(head), p.Encoding))
	if err != nil {
		return p, err
	}
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
	if bytes.IndexByte(text, 0) >= 0 {
		return p, &tarn.Error{Code: tarn.CodeUnsupported, Detail: "the file is neither text nor Parquet nor Avro: it holds zero bytes", Hint: "drop CSV, JSON, NDJSON, Parquet, Avro or text in UTF-8"}
	}
	if !whole {
		text = text[:bytes.LastIndexByte(text, '\n')+1]
	}
	if p.Format == Auto || p.Format == "" {
		p.Format = formatOf(in.Name, text)
	}
	if p.Format == JSON && oneToALine(text) {
		p.Format = NDJSON
	}
	if p.Format == CSV {
		return p, p.lookAtCSV(in.Name, text, h)
	}
	return p, nil
}

func compressionOf(start []byte) Compression {
	switch {
	case bytes.HasPrefix(start, []byte("\x1f\x8b")):
		return Gzip
	case bytes.HasPrefix(start, []byte("\x28\xb5\x2f\xfd")):
		return Zstd
	}
	return Plain
}

// readHead reads up to n bytes and reports whether that was all.
func readHead(r io.Reader, n int) (head []byte, whole bool, err error) {
	head, err = io.ReadAll(io.LimitReader(r, int64(n)))
	return head, len(head) < n, err
}

// binary sets the format by the mark of a binary file, and refuses what is not what it should be.
func (p *Plan) binary(head []byte) error {
	parquet, isAvro := bytes.HasPrefix(head, []byte("PAR1")), bytes.HasPrefix(head, []byte("Obj\x01"))
	auto := p.Format == Auto || p.Format == ""
	switch {
	case parquet && p.Compression != Plain:
		return &tarn.Error{Code: tarn.CodeUnsupported, Detail: "a Parquet file within " + string(p.Compression) + " is not read", Hint: "drop the Parquet file itself; it is compressed within"}
	case parquet && (auto || p.Format == Parquet):
		p.Format = Parquet
	case isAvro && (auto || p.Format == Avro):
		p.Format = Avro
	case parquet, isAvro, p.Format == Parquet, p.Format == Avro:
		return &tarn.Error{Code: tarn.CodeInvalid, Detail: "the file is not " + string(p.Format), Hint: "set format: auto in the pipeline's source, or drop a file of that format"}
	}
	return nil
}

// formatOf tells a text's format by its name, else by what it holds.
func formatOf(name string, text []byte) Format {
	name = strings.ToLower(name)
	for _, z := range []string{".gz", ".gzip", ".zst", ".zstd"} {
		name = strings.TrimSuffix(name, z)
	}
	switch path.Ext(name) {
	case ".csv", ".tsv":
		return CSV
	case ".json":
		return JSON
	case ".ndjson", ".jsonl":
		return NDJSON
	case ".txt", ".log":
		return Text
	}
	if t := bytes.TrimLeft(text, " \t\r\n"); len(t) > 0 && (t[0] == '{' || t[0] == '[') {
		return JSON
	}
	if delimiterOf(name, text, 1) != "" {
		return CSV
	}
	return Text
}

// oneToALine reports whether the first lines that are not blank are an object each.
func oneToALine(text []byte) bool {
	seen := 0
	for line := range bytes.Lines(text) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 {
			continue
		}
		if line[0] != '{' || line[len(line)-1] != '}' || !balanced(line) {
			return false
		}
		if seen++; seen == 10 {
			break
		}
	}
	return seen > 0
}

func balanced(line []byte) bool {
	v := valueScan{object: true}
	end, ok := v.scan(line, false)
	return ok && end == len(line)
}

// delimiterOf returns the delimiter, if any, that parts the first line and at least the given share of
// the first lines into equally many fields, at least two.
func delimiterOf(name string, text []byte, share float64) string {
	candidates := []string{",", ";", "\t", "|"}
	if strings.HasSuffix(name, ".tsv") {
		candidates = []string{"\t", ",", ";", "|"}
	}
	best, most := "", 1
	for _, d := range candidates {
		rows := sampleRows(text, d, 100)
		if len(rows) == 0 {
			continue
		}
		width, alike := len(rows[0]), 0
		for _, r := range rows {
			if len(r) == width {
				alike++
			}
		}
		got := float64(alike) / float64(len(rows))
		if width > 1 && (got > share || got == share && width > most) {
			best, most, share = d, width, got
		}
	}
	return best
}

// sampleField is a field of a row that Look has read.
type sampleField struct {
	text   string
	quoted bool
}

// sampleRows reads the first rows of a CSV text; what is no row is left out.
func sampleRows(text []byte, delimiter string, most int) [][]sampleField {
	t := newTable(&source{r: blocksOf(text, lookBytes), close: func() error { return nil }}, Plan{Delimiter: delimiter})
	var rows [][]sampleField
	for len(rows) < most {
		size, err := t.row()
		var bad *Reject
		if errors.As(err, &bad) && bad.Detail != unclosed {
			continue
		}
		if err != nil { // the end, which may lie within a quoted field
			break
		}
		row := make([]sampleField, len(t.fields))
		for i, f := range t.fields {
			row[i] = sampleField{strings.ReplaceAll(string(t.r.rest()[f.start:f.end]), `""`, `"`), f.quoted}
		}
		t.r.skip(size)
		if len(row) > 1 || row[0].text != "" || row[0].quoted {
			rows = append(rows, row)
		}
	}
	return rows
}

// lookAtCSV finds out the delimiter, the header and the columns.
func (p *Plan) lookAtCSV(name string, text []byte, h Hints) error {
	if p.Delimiter = h.Delimiter; p.Delimiter == "" {
		// A few rows with a wrong number of fields are refused each, and hide the delimiter of the others no more.
		if p.Delimiter = delimiterOf(strings.ToLower(name), text, 0.5); p.Delimiter == "" {
			p.Delimiter = ","
		}
	}
	rows := sampleRows(text, p.Delimiter, lookRows)
	if len(rows) == 0 {
		return &tarn.Error{Code: tarn.CodeInvalid, Detail: "the CSV file has no row", Hint: "write a header and rows below it"}
	}
	switch h.Header {
	case "true":
		p.Header = true
	case "false":
	default:
		p.Header = looksLikeHeader(rows[0])
	}
	names := make([]string, len(rows[0]))
	for i := range names {
		names[i] = "column" + strconv.Itoa(i)
		if p.Header && strings.TrimSpace(rows[0][i].text) != "" {
			names[i] = strings.TrimSpace(rows[0][i].text)
		}
		if !utf8.ValidString(names[i]) {
			return &tarn.Error{Code: tarn.CodeInvalid, Detail: "the header of the CSV file is not valid UTF-8", Hint: "write it in UTF-8, or set csv: {encoding: latin-1} in the pipeline's source"}
		}
	}
	if p.Header {
		rows = rows[1:]
	}
	for i, n := range distinct(names) {
		p.Columns = append(p.Columns, Column{Name: n, Kind: kindOf(n, i, len(names), rows, h.Declared)})
	}
	return nil
}

// looksLikeHeader reports whether a row holds nothing but texts, each once, as names do.
func looksLikeHeader(row []sampleField) bool {
	seen := map[string]bool{}
	for _, f := range row {
		t := strings.TrimSpace(f.text)
		if t == "" || seen[t] || isNumber([]byte(t)) || isBoolean([]byte(t)) {
			return false
		}
		seen[t] = true
	}
	return true
}

// distinct makes names that repeat different, since members of one name would hide each other.
func distinct(names []string) []string {
	taken := map[string]bool{}
	out := make([]string, len(names))
	for i, n := range names {
		for k := 2; taken[n]; k++ {
			n = names[i] + "_" + strconv.Itoa(k)
		}
		taken[n] = true
		out[i] = n
	}
	return out
}

// kindOf decides the kind of a column: as declared, else what all its fields that were looked at are.
func kindOf(name string, i, width int, rows [][]sampleField, declared *tarn.Schema) Kind {
	if declared != nil {
		if f := declared.Lookup(name); f != nil {
			switch f.Type.Kind {
			case tarn.Boolean:
				return BooleanKind
			case tarn.Int, tarn.Long, tarn.Float, tarn.Double, tarn.Decimal:
				return NumberKind
			}
			return TextKind
		}
	}
	number, boolean, seen := true, true, false
	for _, r := range rows {
		if len(r) != width || r[i].text == "" { // a row of another width will be rejected
			continue
		}
		seen = true
		t := []byte(strings.Trim(r[i].text, " "))
		number = number && isNumber(t)
		boolean = boolean && isBoolean(t)
	}
	switch {
	case !seen:
		return TextKind
	case boolean:
		return BooleanKind
	case number:
		return NumberKind
	}
	return TextKind
}
