package catalog

import (
	"bytes"
	"io"
	"path"
	"strings"
	"unicode/utf8"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// Format is the format of a file.
type Format string

// The formats.
const (
	CSV     Format = "csv" // with any delimiter
	TSV     Format = "tsv" // CSV with tabs
	JSON    Format = "json"
	NDJSON  Format = "ndjson"
	Parquet Format = "parquet"
	Avro    Format = "avro"
)

// Shape is what the first bytes of a file say of it.
type Shape struct {
	Format      Format
	Compression string // "", gzip or zstd
	Encoding    string // of CSV: "" is UTF-8, else utf-16 or latin-1
	Array       bool   // of JSON: one array of objects, else objects one after another
	// Weak says that a text could be anything: it is a table only if it divides into columns.
	Weak bool
}

// headBytes is how much of a file Detect is given; of a compressed one as much again is unpacked.
const headBytes = 64 << 10

// refusal is why a file is not read.
type refusal struct {
	reason Reason
	detail string
}

func (r *refusal) Error() string { return r.detail }

func refuse(reason Reason, detail string) error { return &refusal{reason, detail} }

// magics are beginnings of formats that are not read.
var magics = []struct{ begin, name string }{
	{"PK\x03\x04", "a ZIP archive"}, {"BZh", "bzip2"}, {"\xfd7zXZ\x00", "xz"}, {"7z\xbc\xaf\x27\x1c", "a 7z archive"},
	{"\x04\x22\x4d\x18", "LZ4"}, {"ORC", "ORC"}, {"SQLite format 3\x00", "a SQLite database"}, {"%PDF-", "PDF"},
	{"\x7fELF", "a program"}, {"ARROW1", "Arrow IPC"}, {"\x89PNG", "an image"}, {"\xff\xd8\xff", "an image"}, {"GIF8", "an image"},
	{"\xff\x06\x00\x00sNaPpY", "framed Snappy"}, {"PARE", "encrypted Parquet"},
}

// Detect says what a file is from its first bytes, of which whole says that there are no more. The
// name counts only where the content leaves a doubt. Errors say why the file is not read.
func Detect(name string, head []byte, whole bool) (Shape, error) {
	if len(head) == 0 {
		return Shape{}, refuse(Empty, "it is empty")
	}
	var s Shape
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		s.Compression = "gzip"
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		s.Compression = "zstd"
	}
	if s.Compression != "" {
		var err error
		if head, whole, err = unpack(head, s.Compression); err != nil {
			return s, err
		}
		if len(head) == 0 {
			return s, refuse(Empty, "it holds no bytes, compressed")
		}
		name = strings.TrimSuffix(strings.TrimSuffix(name, ".gz"), ".zst")
	}
	return s, s.inside(strings.ToLower(path.Ext(name)), head, whole)
}

// inside completes s from the unpacked head.
func (s *Shape) inside(ext string, head []byte, whole bool) error {
	switch {
	case bytes.HasPrefix(head, []byte("PAR1")):
		s.Format = Parquet
		if s.Compression != "" {
			return refuse(Unsupported, "Parquet that is compressed as a whole; Parquet compresses inside")
		}
		return nil
	case bytes.HasPrefix(head, []byte("Obj\x01")):
		s.Format = Avro
		if s.Compression != "" {
			return refuse(Unsupported, "Avro that is compressed as a whole; Avro compresses inside")
		}
		return nil
	case bytes.HasPrefix(head, []byte{0xff, 0xfe}):
		s.Format, s.Encoding = CSV, "utf-16"
		return nil
	case bytes.HasPrefix(head, []byte{0xfe, 0xff}):
		return refuse(Encoding, "it is UTF-16 in big-endian order; convert it: iconv -f UTF-16 -t UTF-8")
	}
	for _, m := range magics {
		if bytes.HasPrefix(head, []byte(m.begin)) {
			return refuse(Unsupported, "it is "+m.name)
		}
	}
	return s.text(ext, bytes.TrimPrefix(head, []byte("\xef\xbb\xbf")), whole)
}

// text completes s for a file that is none of the binary formats.
func (s *Shape) text(ext string, head []byte, whole bool) error {
	if i := bytes.IndexFunc(head, isBinary); i >= 0 {
		return refuse(Unsupported, "its content is neither text nor a format that is read")
	}
	valid := validText(head, whole)
	begin := bytes.TrimLeft(head, " \t\r\n")
	if len(begin) == 0 {
		return refuse(Empty, "it holds nothing but blanks")
	}
	if begin[0] == '{' || begin[0] == '[' && looksLikeArray(begin) {
		if !valid {
			return refuse(Encoding, "it is JSON and not valid UTF-8")
		}
		s.json(begin)
		return nil
	}
	s.Format = CSV
	if ext == ".tsv" || bytes.IndexByte(firstLine(head), '\t') >= 0 && bytes.IndexByte(firstLine(head), ',') < 0 {
		s.Format = TSV
	}
	s.Weak = ext != ".csv" && ext != ".tsv" && ext != ".psv"
	if !valid {
		s.Encoding = "latin-1"
	}
	return nil
}

// json decides between an array, one object a line, and objects over several lines.
func (s *Shape) json(begin []byte) {
	if begin[0] == '[' {
		s.Format, s.Array = JSON, true
		return
	}
	line := bytes.TrimRight(firstLine(begin), " \t\r")
	s.Format = JSON
	if len(line) < len(begin) && bytes.HasSuffix(line, []byte("}")) || len(line) >= headBytes/2 {
		s.Format = NDJSON // a line that is longer than the head can only be one record of many
	}
}

// looksLikeArray tells a JSON array from a text such as a log line that begins with a bracket.
func looksLikeArray(begin []byte) bool {
	rest := bytes.TrimLeft(begin[1:], " \t\r\n")
	return len(rest) > 0 && (rest[0] == '{' || rest[0] == ']')
}

func firstLine(b []byte) []byte {
	line, _, _ := bytes.Cut(b, []byte("\n"))
	return line
}

// isBinary reports a character that text does not hold. What is not UTF-8 may be Latin-1.
func isBinary(r rune) bool {
	return r < ' ' && r != '\t' && r != '\n' && r != '\r' && r != '\f' && r != 0x1b && r != 0x01 && r != 0x1f || r == 0x7f
}

// validText reports whether the head is UTF-8; its last character may be cut off.
func validText(head []byte, whole bool) bool {
	if utf8.Valid(head) {
		return true
	}
	for cut := 1; !whole && cut < utf8.UTFMax && cut < len(head); cut++ {
		if utf8.Valid(head[:len(head)-cut]) {
			return true
		}
	}
	return false
}

// unpack returns the beginning of what is compressed in head, and whether that is all of it.
func unpack(head []byte, compression string) ([]byte, bool, error) {
	broken := refuse(Malformed, "its "+compression+" data is broken")
	r, err := unpacker(bytes.NewReader(head), compression)
	if err != nil {
		return nil, false, broken
	}
	defer r.Close()
	out, err := io.ReadAll(io.LimitReader(r, headBytes)) // I8
	if err != nil && len(out) == 0 && len(head) < headBytes {
		return nil, false, broken
	}
	return out, err == nil && len(out) < headBytes, nil
}

// unpacker reads what is compressed, in bounded memory whatever the data says (I8).
func unpacker(r io.Reader, compression string) (io.ReadCloser, error) {
	if compression == "gzip" {
		return gzip.NewReader(r)
	}
	z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderLowmem(true))
	if err != nil {
		return nil, err
	}
	return z.IOReadCloser(), nil
}

// maxWindow is what zstd --long=27 needs, and the most its own program takes without being asked.
const maxWindow = 128 << 20
