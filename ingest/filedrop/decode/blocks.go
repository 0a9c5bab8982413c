package decode

import (
	"bytes"
	"cmp"
	"errors"
	"hash/crc32"
	"io"

	"github.com/tarn-data/tarn"
)

// blockBytes is how much is read at once.
const blockBytes = 256 << 10

// blocks is a window over a text that moves forward. It holds at least one record of the largest
// size, so that a record never has to be put together from pieces.
type blocks struct {
	src   io.Reader
	buf   []byte // buf[at:] is unread
	at    int
	limit int // the most that one record may take
	small int // bytes of a text that fits the first buffer, 0 for others
	line  int64
	end   bool // nothing more comes
	err   error

	base   int64  // place of buf[0] in the text
	summed int    // buf[:summed] is in sum, or before it
	sum    uint32 // CRC-32C since the last cut
}

// newBlocks reads a text that is expected to have so many bytes; 0 says nothing.
func newBlocks(r io.Reader, limit int, expected int64) *blocks {
	b := &blocks{src: r, limit: limit, line: 1}
	if expected > 0 && expected < blockBytes {
		b.small = int(expected) + 1 // the one tells that nothing follows
	}
	b.buf = make([]byte, 0, cmp.Or(b.small, 2*blockBytes))
	for len(b.buf) < 3 && b.more() {
	}
	b.passMark()
	return b
}

const byteOrderMark = "\xef\xbb\xbf"

// passMark passes over a byte order mark at the beginning.
func (b *blocks) passMark() {
	if bytes.HasPrefix(b.buf, []byte(byteOrderMark)) {
		b.at = len(byteOrderMark)
	}
}

// castagnoli is a constant table.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// blocksOf is a text that is in memory.
func blocksOf(text []byte, limit int) *blocks {
	b := &blocks{buf: text, limit: limit, line: 1, end: true}
	b.passMark()
	return b
}

// cut returns the checksum of the text from the last cut to offset, which is not before the record read last.
func (b *blocks) cut(offset int64) uint32 {
	to := int(offset - b.base)
	sum := crc32.Update(b.sum, castagnoli, b.buf[b.summed:to])
	b.sum, b.summed = 0, to
	return sum
}

// rest is what can be looked at without reading.
func (b *blocks) rest() []byte { return b.buf[b.at:] }

// more reads on. It reports false at the end of the text, and when what is unread is longer than a
// record may be.
func (b *blocks) more() bool {
	if b.end || len(b.buf)-b.at > b.limit {
		return false
	}
	if room := cap(b.buf) - len(b.buf); room < blockBytes && (room == 0 || cap(b.buf) != b.small) {
		b.sum = crc32.Update(b.sum, castagnoli, b.buf[b.summed:max(b.at, b.summed)])
		b.base += int64(b.at)
		b.summed = max(b.summed-b.at, 0)
		unread := len(b.buf) - b.at
		if want := unread + 2*blockBytes; cap(b.buf) < want {
			next := make([]byte, unread, 2*want)
			copy(next, b.buf[b.at:])
			b.buf = next
		} else {
			b.buf = b.buf[:copy(b.buf, b.buf[b.at:])]
		}
		b.at = 0
	}
	for {
		n, err := b.src.Read(b.buf[len(b.buf):cap(b.buf)])
		b.buf = b.buf[:len(b.buf)+n]
		if err != nil {
			b.end = true
			if !errors.Is(err, io.EOF) {
				b.err = err
			}
		}
		if n > 0 || b.end {
			return n > 0
		}
	}
}

// skip moves past n unread bytes.
func (b *blocks) skip(n int) { b.at += n }

// next returns the next line without its end, which is LF or CRLF, and moves past it; the second
// result is how many bytes of the text it took. The error is io.EOF, a *Reject for a line longer
// than a record may be, or what reading failed with.
func (b *blocks) next() ([]byte, error) {
	from := 0
	for {
		if n := bytes.IndexByte(b.buf[b.at+from:], '\n'); n >= 0 {
			line := b.buf[b.at : b.at+from+n]
			b.at += from + n + 1
			b.line++
			if len(line) > b.limit {
				return nil, b.tooLong(line)
			}
			return trimReturn(line), nil
		}
		from = len(b.buf) - b.at
		if b.more() {
			continue
		}
		switch {
		case from > b.limit:
			text := clip(b.rest())
			b.skipLine()
			return nil, b.tooLong(text)
		case b.err != nil:
			return nil, b.fault()
		case from == 0:
			return nil, io.EOF
		}
		line := b.rest()
		b.at = len(b.buf)
		b.line++
		return trimReturn(line), nil
	}
}

// skipLine moves past the end of the line, however long it is.
func (b *blocks) skipLine() {
	for {
		if n := bytes.IndexByte(b.rest(), '\n'); n >= 0 {
			b.at += n + 1
			b.line++
			return
		}
		b.at = len(b.buf)
		if !b.more() {
			b.line++
			return
		}
	}
}

func (b *blocks) tooLong(text []byte) *Reject {
	return reject(tarn.CodeRecordTooLarge, "the record is over the limit of "+itoa(b.limit)+" bytes (record)", text)
}

// fault is the error that reading ended with: of the decompression, or of the disk.
func (b *blocks) fault() error { return b.err }

func trimReturn(line []byte) []byte {
	if n := len(line); n > 0 && line[n-1] == '\r' {
		return line[:n-1]
	}
	return line
}
