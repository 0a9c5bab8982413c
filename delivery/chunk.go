package delivery

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/tarn-data/tarn/record"
	"github.com/tarn-data/tarn/table"
)

// span is a run of one shard's records that travels through conversion to a commit: the offsets
// [From, Next), where the next read starts, and what became of the records in between.
type span struct {
	shard      int
	from, next uint64
	nextSeq    uint64
	expired    uint64 // gone before they could be read, by retention or with the log's storage
	lost       uint64 // damaged and without a failed record of their own
	left       uint64 // not for this delivery, or dropped by a function
}

// lineRange maps lines of a chunk's file to the positions of the records they hold.
type lineRange struct {
	shard  int
	offset uint64 // of the first line
	line   int    // index of the first line in the chunk
	count  int
	arrive time.Time
	edited bool // the lines differ from the records in their blanks
}

// chunk is a run of records written as one NDJSON file, the unit of conversion. Records known not
// to fit are in failed instead. A chunk belongs to one goroutine at a time.
type chunk struct {
	path    string
	file    *os.File
	w       *bufio.Writer
	bytes   int64
	lines   int
	ranges  []lineRange
	spans   []span // one per shard, indexed by shard
	failed  []table.FailedRecord
	refused int64     // bytes of the records in failed
	oldest  time.Time // arrival of the oldest record
	started time.Time
	input   *inputSchema    // covers every record of the chunk
	common  []record.Member // that every line lacks, see compact.go
	later   []record.Later  // what the lines are made of, while there is no file of them
	sealed  bool            // takes no more records
}

// newChunk returns an empty chunk from the ends of spans on.
func (w *Worker) newChunk(shards []span) (*chunk, error) {
	path := filepath.Join(w.cfg.Dir, fmt.Sprintf("chunk-%d.ndjson", w.conv.serial.Add(1)))
	f, err := w.spares.open(path)
	if err != nil {
		return nil, err
	}
	c := &chunk{path: path, file: f, w: bufio.NewWriterSize(f, 256<<10)}
	for _, s := range shards {
		c.spans = append(c.spans, span{shard: s.shard, from: s.next, next: s.next, nextSeq: s.nextSeq})
	}
	return c, nil
}

// empty reports whether the chunk moves no position.
func (c *chunk) empty() bool {
	for _, s := range c.spans {
		if s.next != s.from {
			return false
		}
	}
	return true
}

// records is the number of records the chunk accounts for, failed ones included.
func (c *chunk) records() (n int) {
	for _, s := range c.spans {
		n += int(s.next - s.from - s.expired)
	}
	return n
}

// addLines appends records that are already newline-terminated NDJSON.
func (c *chunk) addLines(shard int, offset uint64, arrive time.Time, count int, payload []byte) error {
	return c.append(shard, offset, arrive, count, payload, false)
}

func (c *chunk) append(shard int, offset uint64, arrive time.Time, count int, payload []byte, edited bool) error {
	c.mark(shard, offset, arrive, count, edited)
	c.bytes += int64(len(payload))
	c.lines += count
	_, err := c.w.Write(payload)
	return err
}

// addLater appends records that are not read yet.
func (c *chunk) addLater(shard int, offset uint64, arrive time.Time, count int, l record.Later) {
	c.mark(shard, offset, arrive, count, false)
	c.later = append(c.later, l)
	c.bytes += l.Size()
	c.lines += count
}

// addRecord appends one record, made newline-safe.
func (c *chunk) addRecord(shard int, offset uint64, arrive time.Time, rec []byte) error {
	line := record.AppendNDJSON(c.w.AvailableBuffer(), rec)
	return c.append(shard, offset, arrive, 1, line, !bytes.Equal(line[:len(line)-1], rec))
}

// mark extends the last range when the records follow on, so that a shard read in order keeps one
// range per message and not one per record.
func (c *chunk) mark(shard int, offset uint64, arrive time.Time, count int, edited bool) {
	c.arrived(arrive)
	if n := len(c.ranges); n > 0 {
		r := &c.ranges[n-1]
		if r.shard == shard && r.offset+uint64(r.count) == offset && r.arrive.Equal(arrive) && r.edited == edited {
			r.count += count
			return
		}
	}
	c.ranges = append(c.ranges, lineRange{shard: shard, offset: offset, line: c.lines, count: count, arrive: arrive, edited: edited})
}

// arrived notes the arrival of a record.
func (c *chunk) arrived(at time.Time) {
	if c.oldest.IsZero() || at.Before(c.oldest) {
		c.oldest = at
	}
}

// fail adds a record that is not to be converted.
func (c *chunk) fail(r table.FailedRecord) {
	c.arrived(r.Arrival)
	c.failed = append(c.failed, r)
	c.refused += int64(len(r.Record))
}

// rowBytes is about what a row takes in DuckDB's buffers besides its text. Chunks of short rows are smaller for
// it: else two of them at once would be spilled to the disk and read again.
const rowBytes = 160

// full reports whether the chunk should take no more records.
func (c *chunk) full(limit int64) bool {
	return c.sealed || c.bytes+int64(c.lines)*rowBytes >= limit || len(c.failed) >= maxFailedWaiting || c.refused >= maxFailedBytes
}

// close makes the file readable for conversion.
func (c *chunk) close() error {
	err := c.w.Flush()
	if err == nil {
		size := c.bytes
		if c.later != nil {
			size = 0
		}
		err = c.file.Truncate(size) // a spare file may have been longer
	}
	return errors.Join(err, c.file.Close())
}

// discard removes the chunk's file.
func (c *chunk) discard() {
	_ = c.file.Close()
	_ = os.Remove(c.path)
}

// locate returns the range that holds a line and the record's offset.
func (c *chunk) locate(line int) (lineRange, uint64) {
	lo, hi := 0, len(c.ranges)
	for lo+1 < hi {
		mid := (lo + hi) / 2
		if c.ranges[mid].line <= line {
			lo = mid
		} else {
			hi = mid
		}
	}
	r := c.ranges[lo]
	return r, r.offset + uint64(line-r.line)
}

// eachLine calls f with every line of the chunk's file in order, without its newline. The slice is
// valid during the call.
func (c *chunk) eachLine(f func(line int, text []byte) error) error {
	file, err := os.Open(c.path)
	if err != nil {
		return err
	}
	defer file.Close()
	r := bufio.NewReaderSize(file, 1<<20)
	var long []byte
	for line := 0; line < c.lines; {
		part, err := r.ReadSlice('\n')
		if err == bufio.ErrBufferFull {
			long = append(long, part...)
			continue
		}
		if err != nil {
			return fmt.Errorf("chunk ends at line %d of %d: %w", line, c.lines, err)
		}
		if len(long) > 0 {
			long = append(long, part...)
			part = long
		}
		if err := f(line, part[:len(part)-1]); err != nil {
			return err
		}
		long = long[:0]
		line++
	}
	return nil
}
