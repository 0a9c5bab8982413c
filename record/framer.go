package record

import (
	"bytes"
	"fmt"
	"strings"

	tarn "github.com/tarn-data/tarn"
)

// framer holds one call of Frame.
type framer struct {
	body  []byte
	o     FrameOptions
	path  []string
	scan  scanner
	known template
	out   Framed
	next  int    // index of the next record
	shard int    // shard of all records, when path is empty
	parts []part // by shard, or one
	one   [1]part
}

func newFramer(body []byte, o FrameOptions) *framer {
	o.Shards = max(o.Shards, 1)
	o.Shard = int(uint(o.Shard) % uint(o.Shards))
	f := &framer{body: body, o: o, scan: scanner{depth: o.Depth}, shard: o.Shard}
	switch {
	case o.Shards == 1:
	case o.Key != "":
		f.shard = ShardOf(o.Key, o.Shards)
	case o.KeyPath != "":
		f.path = strings.Split(o.KeyPath, ".")
	}
	f.parts = f.one[:]
	if f.path != nil {
		f.parts = make([]part, o.Shards)
	}
	for i := range f.parts {
		f.parts[i].shards = len(f.parts)
	}
	return f
}

// opaque takes the whole body as one record.
func (f *framer) opaque() {
	if len(f.body) == 0 {
		return
	}
	if len(f.body) > f.o.RecordBytes {
		f.tooLarge(len(f.body))
		return
	}
	p := &f.parts[0]
	if f.path != nil {
		p = &f.parts[f.o.Shard]
	}
	p.payload = AppendRecord(make([]byte, 0, len(f.body)+4), f.body, false)
	p.count, p.framed, p.opaque = 1, true, true
}

// json reads a JSON body; auto allows an array and records of several lines.
func (f *framer) json(auto bool) {
	b := bytes.TrimPrefix(f.body, []byte("\xef\xbb\xbf"))
	f.body = b
	i := skipBlank(b, 0)
	if auto && i < len(b) && b[i] == '[' {
		f.array(i)
		return
	}
	s := &f.scan
	for n := len(b); i < n; i = skipBlank(b, i) {
		end, shape, hard := f.known.value(s, b, i)
		if hard != "" {
			f.refuse(hard, end-i)
			i = f.resync(i)
			continue
		}
		j := end
		for j < n && (b[j] == ' ' || b[j] == '\t' || b[j] == '\r') {
			j++
		}
		if j < n && b[j] != '\n' && (s.strict || b[j] != '{') {
			f.refuse(faultTrailing, j-i)
			i = lineEnd(b, j)
			continue
		}
		f.take(i, end, shape)
		if i = j; i < n && b[i] == '\n' {
			i++
		}
	}
}

// resync returns where to go on after a record that began at i is no JSON.
func (f *framer) resync(i int) int {
	if !f.scan.feeds {
		return lineEnd(f.body, i)
	}
	// The record spans lines. From here on records must not, which bounds the work: a line is
	// read at most twice.
	f.scan.strict = true
	next := bytes.Index(f.body[i:], []byte("\n{"))
	if next < 0 {
		return len(f.body)
	}
	return i + next + 1
}

// array reads the array that begins at i.
func (f *framer) array(i int) {
	b, s := f.body, &f.scan
	i = skipBlank(b, i+1)
	if i < len(b) && b[i] == ']' {
		f.afterArray(i + 1)
		return
	}
	for {
		end, shape, hard := f.known.value(s, b, i)
		if hard != "" {
			f.rejectRest(hard, end-i)
			return
		}
		f.take(i, end, shape)
		i = skipBlank(b, end)
		switch {
		case i >= len(b):
			f.rejectRest(faultEnd, 0)
			return
		case b[i] == ',':
			i = skipBlank(b, i+1)
		case b[i] == ']':
			f.afterArray(i + 1)
			return
		default:
			f.rejectRest(faultElement, 0)
			return
		}
	}
}

func (f *framer) afterArray(i int) {
	if i = skipBlank(f.body, i); i < len(f.body) {
		f.rejectRest(faultAfterArray, 0)
	}
}

// rejectRest rejects what is left of the body as one record.
func (f *framer) rejectRest(what fault, pos int) {
	e := f.invalid(what, pos)
	e.Detail += "; nothing after it was read"
	f.reject(e)
}

// refuse rejects a record for a fault at the byte pos of it.
func (f *framer) refuse(what fault, pos int) {
	if f.out.RejectedTotal >= MaxRejects {
		f.reject(nil) // only counted
		return
	}
	f.reject(f.invalid(what, pos))
}

// invalid says what the fault is, and the limit where it is about one.
func (f *framer) invalid(what fault, pos int) *tarn.Error {
	e := invalid(what, pos)
	switch what {
	case faultDepth:
		e.Detail += fmt.Sprintf(" of %d levels", f.o.Depth)
	case faultTooNested:
		e.Detail += fmt.Sprintf(", the limit is %d levels", f.o.Depth)
	}
	return e
}

// take accepts the record body[start:end], or rejects it for what it holds.
func (f *framer) take(start, end int, shape uint64) {
	s := &f.scan
	switch {
	case end-start > f.o.RecordBytes:
		f.tooLarge(end - start)
		return
	case f.body[start] != '{':
		f.reject(&tarn.Error{Code: tarn.CodeInvalidJSON, Detail: detailNotObject})
		return
	case s.soft != "":
		f.refuse(s.soft, s.softPos-start)
		return
	}
	p := &f.parts[0]
	if f.path != nil {
		shard := f.o.Shard
		if key, ok := lookup(f.body[start:end], f.path); ok {
			shard = ShardOf(key, f.o.Shards)
		}
		p = &f.parts[shard]
	}
	p.add(f.body, start, end, s.breaks, shape, f.next)
	f.next++
}

func (f *framer) tooLarge(size int) {
	f.reject(&tarn.Error{Code: tarn.CodeRecordTooLarge,
		Detail: fmt.Sprintf("the record has %d bytes, the limit is %d (record)", size, f.o.RecordBytes)})
}

func (f *framer) reject(e *tarn.Error) {
	if f.out.RejectedTotal < MaxRejects {
		f.out.Rejected = append(f.out.Rejected, Reject{Index: f.next, Code: e.Code, Detail: e.Detail})
	}
	f.out.RejectedTotal++
	f.next++
}

func (f *framer) finish() Framed {
	for i := range f.parts {
		p := &f.parts[i]
		if p.count == 0 {
			continue
		}
		shard := f.shard
		if f.path != nil {
			shard = i
		}
		f.out.Accepted += p.count
		f.out.Parts = append(f.out.Parts, Part{Shard: shard, Segment: p.segment(f), Index: p.index})
	}
	return f.out
}

// skipBlank returns the index of the first byte from i on that is no JSON blank.
func skipBlank(b []byte, i int) int {
	for i < len(b) && b[i] <= ' ' && (b[i] == ' ' || b[i] == '\n' || b[i] == '\r' || b[i] == '\t') {
		i++
	}
	return i
}

// lineEnd returns the index after the first newline from i on.
func lineEnd(b []byte, i int) int {
	if n := bytes.IndexByte(b[i:], '\n'); n >= 0 {
		return i + n + 1
	}
	return len(b)
}
