package delivery

import (
	"bufio"
	"errors"
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
func (w *Worker) compact(r Reader) {
	_, tables := w.target.(tableTarget)
	if c, ok := r.(interface{ Compact() }); ok && tables && len(w.cfg.Functions) == 0 && !w.cfg.Opaque {
		c.Compact()
	}
}

// compacts reports whether a segment but its first skip records can go into the chunk without its common
// members: it has some, its records fit as they stand, and the chunk has no others.
func (g *gatherer) compacts(c *chunk, seg *record.Segment, skip int) bool {
	if len(seg.Common) == 0 || skip > 0 || g.sample != nil || seg.ShapesOverflow || c.common == nil && c.lines > 0 || c.common != nil && !slices.Equal(c.common, seg.Common) {
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

// complete writes the members that the lines leave out into them.
func (c *chunk) complete() (err error) {
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
	err = c.eachLine(func(_ int, text []byte) error {
		_, _ = w.Write(text[:len(text)-1]) // the first error stays
		_, err := w.Write(members)
		return err
	})
	if err = errors.Join(err, w.Flush(), f.Close()); err == nil {
		err = os.Rename(path, c.path)
	}
	if err != nil {
		_ = os.Remove(path)
		return err
	}
	c.common = nil
	return nil
}
