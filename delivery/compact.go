package delivery

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/delivery/infer"
	"github.com/tarn-data/tarn/record"
	"github.com/tarn-data/tarn/stream"
)

// Records of a large file have members in common, its name and hash. Where a chunk holds nothing else, its
// lines leave them out and the SQL that reads it adds them as constants: a fifth of the bytes that DuckDB
// would parse. Whatever looks at single lines has them written out first.

// compact asks a reader for segments that leave out what their records have in common, where the worker
// can do with them.
func (g *gatherer) compact(r Reader) {
	_, tables := g.w.target.(tableTarget)
	if c, ok := r.(interface {
		Compact(func(*record.Segment) bool)
	}); ok && tables && len(g.w.cfg.Functions) == 0 && !g.w.cfg.Opaque {
		c.Compact(g.waits)
	}
}

// compacts reports whether a segment but its first skip records can go into the chunk without its common
// members: it has some, its records fit as they stand, and the chunk has no others.
func (g *gatherer) compacts(c *chunk, seg *record.Segment, skip int) bool {
	alike := c.lines == 0 || c.common != nil && slices.Equal(c.common, seg.Common) && (c.later != nil) == (seg.Later != nil)
	return alike && skip == 0 && g.sample == nil && g.bare(seg)
}

// bare reports whether the records of a segment fit as they stand, without the members that are common.
func (g *gatherer) bare(seg *record.Segment) bool {
	if len(seg.Common) == 0 || seg.ShapesOverflow {
		return false
	}
	for _, ref := range seg.Shapes {
		if g.w.input.state.Knows(ref.Hash) != infer.Fits {
			return false
		}
	}
	read := g.w.input.version().read.Fields
	texts := 0
	for _, m := range seg.Common {
		f := find(read, m.Name)
		if f != nil && (f.Name != m.Name || f.Type.Kind != tarn.String) {
			return false
		}
		if f != nil {
			texts++
		}
	}
	return texts < len(read) // a reader needs a column
}

// clashes reports whether the chunk must end before the entry, because its lines leave out members that
// those of the entry have, or have otherwise.
func (g *gatherer) clashes(c *chunk, shard int, e stream.Entry) bool {
	if c.common == nil {
		return false
	}
	at := e.Batch.Base
	for i := range e.Batch.Segments {
		seg := &e.Batch.Segments[i]
		if !g.compacts(c, seg, int(int64(c.spans[shard].next)-int64(at))) {
			return true
		}
		at += uint64(seg.Count)
	}
	return false
}

// lacking is the columns of lines that leave out members.
func (in *inputSchema) lacking(common []record.Member) tarn.Schema {
	if common == nil {
		return in.read
	}
	var read tarn.Schema
	for _, f := range in.read.Fields {
		if !slices.ContainsFunc(common, func(m record.Member) bool { return m.Name == f.Name }) {
			read.Fields = append(read.Fields, f)
		}
	}
	return read
}

// complete makes records of the lines, with the members that they leave out.
func (c *chunk) complete(ctx context.Context) (err error) {
	if c.common == nil {
		return nil
	}
	path := c.path + ".complete"
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 256<<10)
	members := append(record.AppendMembers(nil, c.common), '}', '\n')
	size, lines := int64(0), 0
	err = c.eachBare(ctx, func(_ int, text []byte) error {
		lines++
		size += int64(len(text) - 1 + len(members))
		_, _ = w.Write(text[:len(text)-1]) // the first error stays
		_, err := w.Write(members)
		return err
	})
	if err == nil && lines != c.lines {
		err = unread{fmt.Errorf("%w: %d records lie where %d should", record.ErrCorrupt, lines, c.lines)}
	}
	if err = errors.Join(err, w.Flush(), f.Close()); err == nil {
		err = os.Rename(path, c.path)
	}
	if err != nil {
		_ = os.Remove(path)
		return err
	}
	c.common, c.later, c.bytes = nil, nil, size
	return nil
}

// eachBare is eachLine for the lines as they are, wherever that is.
func (c *chunk) eachBare(ctx context.Context, f func(line int, text []byte) error) error {
	if c.later == nil {
		return c.eachLine(f)
	}
	var buf []byte
	line := 0
	for _, l := range c.later {
		var err error
		if buf, err = l.Lines(ctx, buf); err != nil {
			return unread{err}
		}
		for text := range bytes.Lines(buf) {
			if err := f(line, bytes.TrimSuffix(text, []byte{'\n'})); err != nil {
				return err
			}
			line++
		}
	}
	return nil
}
