package jetstream

import (
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tarn-data/tarn/stream"
)

// blocks reads the message files of an embedded log where they lie. Through the server's protocol
// a message is copied seven times on its way to a reader, and its hash computed; from the file it
// is copied once. What it reads is believed only as far as stream checks it: the sequence number
// here, and the checksum of the batch there, which asks the server again when that does not hold.
// Anything it does not understand it leaves to the protocol.
//
// A file holds records one after the other, integers little endian: total length (4 bytes, the
// high bit says that headers follow), sequence (8, the two high bits mark deletions), time (8),
// length of the subject (2), subject, with headers their length (4) and they, message, hash (8).
// Files are named by increasing numbers and have about 8 MB.
type blocks struct {
	dir   string
	file  *os.File
	index int    // number in the name of the file
	off   int64  // of buf in the file
	buf   []byte // read ahead
	at    int    // of the next record in buf
	next  uint64 // sequence of the next record; 0 when the place is lost
}

const (
	blockRecord   = 22 // bytes before the subject
	blockHash     = 8
	blockHeaders  = 1 << 31
	blockDeleted  = 3 << 62
	blockReadSize = 256 << 10
	blockTooLarge = 64 << 20
)

// get returns the message with that sequence, or false: then the place is lost and the protocol
// knows better.
func (b *blocks) get(seq uint64) (stream.Message, bool) {
	if b.next != seq && !b.find(seq) {
		return stream.Message{}, false
	}
	for {
		msg, state := b.record(seq)
		switch state {
		case blockFound:
			b.next = seq + 1
			return msg, true
		case blockEnd:
			if !b.open(b.index + 1) {
				b.next = 0
				return stream.Message{}, false
			}
		case blockOther:
			b.next = 0
			return stream.Message{}, false
		}
	}
}

type blockState int

const (
	blockFound blockState = iota
	blockEnd              // the file ends here
	blockOther            // something else is here
)

// record reads records until the one with that sequence.
func (b *blocks) record(seq uint64) (stream.Message, blockState) {
	for {
		if !b.fill(blockRecord) {
			if len(b.buf) == b.at {
				return stream.Message{}, blockEnd
			}
			return stream.Message{}, blockOther
		}
		h := b.buf[b.at:]
		length := int(binary.LittleEndian.Uint32(h))
		headers := uint32(length)&blockHeaders != 0
		length &^= blockHeaders
		got := binary.LittleEndian.Uint64(h[4:])
		if length < blockRecord+blockHash || length > blockTooLarge {
			return stream.Message{}, blockOther
		}
		if got&blockDeleted != 0 || got < seq {
			b.skip(length)
			continue
		}
		if got > seq {
			return stream.Message{}, blockOther
		}
		at := time.Unix(0, int64(binary.LittleEndian.Uint64(h[12:]))).UTC()
		prefix := blockRecord + int(binary.LittleEndian.Uint16(h[20:]))
		if headers {
			if !b.fill(prefix + 4) {
				return stream.Message{}, blockOther
			}
			prefix += 4 + int(binary.LittleEndian.Uint32(b.buf[b.at+prefix:]))
		}
		size := length - prefix - blockHash
		if size < 0 || prefix > length || !b.fill(prefix) {
			return stream.Message{}, blockOther
		}
		if b.at+length > len(b.buf) && !b.holds(length) {
			return stream.Message{}, blockOther
		}
		data := make([]byte, size)
		n := copy(data, b.buf[b.at+prefix:])
		if n < size {
			if _, err := b.file.ReadAt(data[n:], b.off+int64(b.at+prefix+n)); err != nil {
				return stream.Message{}, blockOther
			}
		}
		b.skip(length)
		return stream.Message{Seq: seq, Time: at, Data: data}, blockFound
	}
}

// holds reports whether the file has n bytes from the next record on.
func (b *blocks) holds(n int) bool {
	info, err := b.file.Stat()
	return err == nil && b.off+int64(b.at+n) <= info.Size()
}

// fill makes sure that n bytes from the next record on are in the buffer.
func (b *blocks) fill(n int) bool {
	have := len(b.buf) - b.at
	if have >= n {
		return true
	}
	size := max(blockReadSize, n)
	if cap(b.buf) < size {
		grown := make([]byte, have, size)
		copy(grown, b.buf[b.at:])
		b.buf = grown
	} else {
		b.buf = b.buf[:copy(b.buf[:have], b.buf[b.at:])]
	}
	b.off += int64(b.at)
	b.at = 0
	read, err := b.file.ReadAt(b.buf[have:size], b.off+int64(have))
	b.buf = b.buf[:have+read]
	return len(b.buf) >= n && (err == nil || err == io.EOF)
}

// skip goes past n bytes of the file.
func (b *blocks) skip(n int) {
	if b.at+n <= len(b.buf) {
		b.at += n
		return
	}
	b.off += int64(b.at + n)
	b.buf, b.at = b.buf[:0], 0
}

// open goes to the beginning of a file.
func (b *blocks) open(index int) bool {
	f, err := os.Open(filepath.Join(b.dir, strconv.Itoa(index)+".blk"))
	if err != nil {
		return false
	}
	b.close()
	b.file, b.index, b.off, b.buf, b.at = f, index, 0, b.buf[:0], 0
	return true
}

func (b *blocks) close() {
	if b.file != nil {
		b.file.Close()
		b.file = nil
	}
	b.next = 0
}

// find goes to the file that should hold the sequence.
func (b *blocks) find(seq uint64) bool {
	entries, err := os.ReadDir(b.dir)
	if err != nil {
		return false
	}
	var indices []int
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), ".blk")
		if i, err := strconv.Atoi(name); ok && err == nil {
			indices = append(indices, i)
		}
	}
	slices.Sort(indices)
	// The last file whose first record is not after seq.
	n, _ := slices.BinarySearchFunc(indices, seq, func(index int, seq uint64) int {
		if first, ok := b.first(index); ok && first > seq {
			return 1
		}
		return -1
	})
	return n > 0 && b.open(indices[n-1])
}

// first returns the sequence of the first record of a file.
func (b *blocks) first(index int) (uint64, bool) {
	f, err := os.Open(filepath.Join(b.dir, strconv.Itoa(index)+".blk"))
	if err != nil {
		return 0, false
	}
	defer f.Close()
	var h [blockRecord]byte
	if _, err := io.ReadFull(f, h[:]); err != nil {
		return 0, false
	}
	return binary.LittleEndian.Uint64(h[4:]) &^ blockDeleted, true
}
