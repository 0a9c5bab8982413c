package decode

import (
	"io"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/record"
)

// Format says how a file is read.
type Format string

// The formats. Auto is found out by Look and never stands in a Plan.
const (
	Auto    Format = "auto"
	CSV     Format = "csv"
	JSON    Format = "json"
	NDJSON  Format = "ndjson"
	Parquet Format = "parquet"
	Avro    Format = "avro"
	Text    Format = "text"
)

// Compression says how a whole file is compressed.
type Compression string

// The compressions, told by the first bytes of a file, never by its name.
const (
	Plain Compression = ""
	Gzip  Compression = "gzip"
	Zstd  Compression = "zstd"
)

// Hints are what the user says. Zero fields are found out from the file.
type Hints struct {
	Format    Format
	Delimiter string // of CSV, one character
	Header    string // of CSV: "", "true" or "false"
	Encoding  string // of CSV, JSON and text: "", "utf-8", "utf-16" or "latin-1"
	// Declared are the columns that the pipeline expects: they decide whether a CSV column holds
	// text, numbers or booleans. May be nil.
	Declared *tarn.Schema
}

// Plan is all that decides which records a file holds.
type Plan struct {
	Format      Format      `json:"format"`
	Compression Compression `json:"compression,omitempty"`
	Encoding    string      `json:"encoding,omitempty"` // "" is UTF-8
	Delimiter   string      `json:"delimiter,omitempty"`
	Header      bool        `json:"header,omitempty"`
	Columns     []Column    `json:"columns,omitempty"` // of CSV, in the order of the file
	RecordBytes int         `json:"record_bytes"`      // a longer record is rejected
}

// Column is one column of a CSV file.
type Column struct {
	Name string `json:"name"`
	Kind Kind   `json:"kind"`
}

// Kind says how the fields of a CSV column become JSON. An empty field is null, an empty quoted one
// an empty text. A field that is not of its column's kind is a text: whether the table takes it is
// decided where the table is known.
type Kind string

// The kinds.
const (
	TextKind    Kind = "text"
	NumberKind  Kind = "number" // what JSON calls a number, so neither 007 nor 1,5
	BooleanKind Kind = "boolean"
)

// Records yields the records of one file, in order. Close it.
type Records interface {
	// Next returns the next record and its line: for CSV, JSON lines and text the line of the file
	// at which it begins, from 1, for the other formats its number in the file, from 1. The bytes
	// are valid until the next call. The error is io.EOF at the end, a *Reject for a piece that is
	// no record, after which reading goes on, or another, a *tarn.Error, that ends the file.
	Next() (rec []byte, line int64, err error)
	Close() error
}

// Reject is a piece of a file that is no record.
type Reject struct {
	Code   tarn.Code
	Detail string
	Text   []byte // the start of it, as it stands in the file
}

// Error implements error.
func (r *Reject) Error() string { return r.Detail }

// MaxRejectText is how much of a rejected piece is kept, in bytes.
const MaxRejectText = 4 << 10

func reject(code tarn.Code, detail string, text []byte) *Reject {
	return &Reject{Code: code, Detail: detail, Text: clip(text)}
}

// clip copies the start of a piece.
func clip(b []byte) []byte { return append([]byte(nil), b[:min(len(b), MaxRejectText)]...) }

// Input is a file to read.
type Input struct {
	Name string // decides where the bytes leave the format open
	Size int64  // bytes
	// Data is the file from its beginning. It is read to its end, or not at all for Parquet.
	Data io.Reader
	// Table opens a Parquet file as rows of one JSON text. It is called for Parquet only.
	Table func() (Records, error)
}

// Open reads the file by the plan.
func Open(in Input, p Plan) (Records, error) {
	if p.RecordBytes <= 0 {
		p.RecordBytes = record.DefaultRecordBytes
	}
	if p.Format == Parquet {
		return in.Table()
	}
	plain, err := decompress(in.Data, p.Compression)
	if err != nil {
		return nil, err
	}
	if p.Format == Avro {
		return openAvro(plain)
	}
	expected := in.Size
	if p.Compression != Plain || p.Encoding != "" {
		expected = 0
	}
	text := &source{close: plain.Close, r: newBlocks(transcode(plain, p.Encoding), p.RecordBytes, expected)}
	if r := p.records(text); r != nil {
		return r, nil
	}
	return nil, &tarn.Error{Code: tarn.CodeUnsupported, Detail: "the format " + string(p.Format) + " is not known"}
}

// records reads a text by the plan, nil for a format that is no text.
func (p Plan) records(text *source) Records {
	switch p.Format {
	case NDJSON:
		return &lines{source: text}
	case Text:
		return &lines{source: text, wrap: true}
	case JSON:
		return &objects{source: text}
	case CSV:
		return newTable(text, p)
	}
	return nil
}

// Place is where reading a file can begin.
type Place struct {
	Offset int64 `json:"offset"`
	Line   int64 `json:"line"`
	Header bool  `json:"header,omitempty"` // that of a CSV file is still to come
}

// Placed is implemented by the Records of a plan that is Seekable. Parted at the places it returns, the
// file gives the same records, see OpenRange.
type Placed interface {
	// Place is behind the record or piece that was read last.
	Place() Place
	// Start is where the record that was read last begins.
	Start() Place
	// Cut returns the checksum (CRC-32C) of the file's bytes from the last cut to the place where
	// reading is, or to the start of the record that was read last.
	Cut(offset int64) uint32
}

// Shaped is implemented by Records that know the shape of a record without making it.
type Shaped interface {
	// NextShape is Next for a record as it stands in the file, without a line break at its end. What it
	// would be has size bytes; shape is 0 when only the record itself tells whether it is good.
	NextShape() (raw []byte, size int, shape uint64, line int64, err error)
}

// Seekable reports whether files of the plan can be read from the middle.
func (p Plan) Seekable() bool {
	return p.Compression == Plain && p.Encoding == "" && (p.Format == NDJSON || p.Format == CSV || p.Format == Text)
}

// OpenRange reads a piece of a file by a plan that is Seekable. The piece begins at a place that Placed
// returned for the whole file and ends at another, and has records only: what is none may be told by what
// follows it.
func OpenRange(piece []byte, p Plan, at Place) (Records, error) {
	if !p.Seekable() {
		return nil, &tarn.Error{Code: tarn.CodeUnsupported, Detail: "a file of the format " + string(p.Format) + " cannot be read from the middle"}
	}
	p.Header = at.Header
	text := &blocks{buf: piece, limit: p.RecordBytes, line: at.Line, base: at.Offset, end: true}
	if at.Offset == 0 {
		text.passMark()
	}
	return p.records(&source{r: text, close: func() error { return nil }}), nil
}

// source is the decoded text of a file and what closes it.
type source struct {
	r     *blocks
	close func() error
	start Place // of the record read last
}

// begin notes that a record begins here.
func (s *source) begin() { s.start = s.place() }

func (s *source) place() Place { return Place{Offset: s.r.base + int64(s.r.at), Line: s.r.line} }

// Start implements Placed.
func (s *source) Start() Place { return s.start }

// Place implements Placed.
func (s *source) Place() Place { return s.place() }

// Cut implements Placed.
func (s *source) Cut(offset int64) uint32 { return s.r.cut(offset) }

// Close implements Records.
func (s *source) Close() error { return s.close() }
