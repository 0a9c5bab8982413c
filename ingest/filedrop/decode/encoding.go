package decode

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/tarn-data/tarn"
)

// zstdWindow bounds the memory that a zstd file may ask for (I8).
const zstdWindow = 64 << 20

// decompress returns the content of a file. Closing it does not close r.
func decompress(r io.Reader, c Compression) (io.ReadCloser, error) {
	switch c {
	case Plain:
		return io.NopCloser(r), nil
	case Gzip:
		z, err := gzip.NewReader(bufio.NewReaderSize(r, blockBytes))
		if err != nil {
			return nil, damaged("gzip", err)
		}
		return unpacker{z, z.Close, "gzip"}, nil
	case Zstd:
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(zstdWindow), zstd.WithDecoderLowmem(true))
		if err != nil {
			return nil, damaged("zstd", err)
		}
		return unpacker{z, func() error { z.Close(); return nil }, "zstd"}, nil
	}
	return nil, &tarn.Error{Code: tarn.CodeUnsupported, Detail: "the compression " + string(c) + " is not known"}
}

// unpacker says what is wrong with the file when its decompression fails.
type unpacker struct {
	io.Reader
	close func() error
	name  string
}

// Read implements io.Reader.
func (u unpacker) Read(p []byte) (int, error) {
	n, err := u.Reader.Read(p)
	if err != nil && err != io.EOF {
		err = damaged(u.name, err)
	}
	return n, err
}

// Close implements io.Closer.
func (u unpacker) Close() error { return u.close() }

func damaged(name string, err error) error {
	var known *tarn.Error
	if errors.As(err, &known) {
		return err
	}
	e := &tarn.Error{Code: tarn.CodeInvalid, Detail: "the file is damaged: its " + name + " compression does not go on", Hint: "write it again, whole, and drop it again", Err: err}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		e.Detail = "the file is cut short: its " + name + " compression has no end"
	}
	return e
}

// transcode returns UTF-8 for a text in another encoding.
func transcode(r io.Reader, encoding string) io.Reader {
	switch encoding {
	case "utf-16":
		return &utf16Reader{src: bufio.NewReaderSize(r, blockBytes)}
	case "latin-1":
		return &latin1Reader{src: r}
	}
	return r
}

// latin1Reader reads ISO 8859-1, whose bytes are the first 256 letters of Unicode.
type latin1Reader struct {
	src  io.Reader
	half []byte // encoded and not handed out
	buf  [4096]byte
	out  [8192]byte
	err  error
}

// Read implements io.Reader.
func (l *latin1Reader) Read(p []byte) (int, error) {
	for len(l.half) == 0 {
		if l.err != nil {
			return 0, l.err
		}
		var n int
		n, l.err = l.src.Read(l.buf[:])
		l.half = l.out[:0]
		for _, c := range l.buf[:n] {
			l.half = utf8.AppendRune(l.half, rune(c))
		}
	}
	n := copy(p, l.half)
	l.half = l.half[n:]
	return n, nil
}

// utf16Reader reads UTF-16 in the byte order that its mark says, little endian without one. A lone
// surrogate becomes U+FFFD.
type utf16Reader struct {
	src   *bufio.Reader
	order binary.ByteOrder
	half  []byte
	out   [8192]byte
	err   error
}

// Read implements io.Reader.
func (u *utf16Reader) Read(p []byte) (int, error) {
	if u.order == nil {
		u.order = binary.LittleEndian
		if mark, err := u.src.Peek(2); err == nil {
			switch {
			case mark[0] == 0xfe && mark[1] == 0xff:
				u.order = binary.BigEndian
				_, _ = u.src.Discard(2)
			case mark[0] == 0xff && mark[1] == 0xfe:
				_, _ = u.src.Discard(2)
			}
		}
	}
	if len(u.half) == 0 && u.err == nil {
		u.half, u.err = u.fill(u.out[:0])
	}
	if len(u.half) == 0 {
		return 0, u.err
	}
	n := copy(p, u.half)
	u.half = u.half[n:]
	return n, nil
}

func (u *utf16Reader) fill(out []byte) ([]byte, error) {
	for len(out) < cap(out)-8 {
		r, err := u.unit()
		if err != nil {
			return out, err
		}
		if utf16.IsSurrogate(r) {
			low, err := u.src.Peek(2)
			second := rune(-1)
			if err == nil {
				second = rune(u.order.Uint16(low))
			}
			if r = utf16.DecodeRune(r, second); r != utf8.RuneError {
				_, _ = u.src.Discard(2)
			}
		}
		out = utf8.AppendRune(out, r)
	}
	return out, nil
}

func (u *utf16Reader) unit() (rune, error) {
	var b [2]byte
	if _, err := io.ReadFull(u.src, b[:]); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return 0, &tarn.Error{Code: tarn.CodeInvalid, Detail: "the file is cut short: half a letter of UTF-16 is at its end", Hint: "write it again, whole, and drop it again"}
		}
		return 0, err
	}
	return rune(u.order.Uint16(b[:])), nil
}
