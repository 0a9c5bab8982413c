package delivery

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/delivery/infer"
	"github.com/tarn-data/tarn/record"
	"github.com/tarn-data/tarn/stream"
	"github.com/tarn-data/tarn/table"
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

// around is the relation of records over what reads their lines, which lack the common members.
func (p *plan) around(from string, common []record.Member) string {
	names := make([]string, len(p.input.read.Fields))
	for i, f := range p.input.read.Fields {
		names[i] = tarn.QuoteIdent(f.Name)
		for _, m := range common {
			if m.Name == f.Name {
				names[i] = p.constant(m) + " AS " + names[i]
			}
		}
	}
	return "(SELECT " + p.input.sel + " FROM (SELECT " + strings.Join(names, ", ") + " FROM " + from + "))"
}

// constant is the value of a member that all records have.
func (p *plan) constant(m record.Member) string {
	value := tarn.QuoteLiteral(m.Value)
	if p.stores(m) != nil {
		return value + "::ENUM(" + value + ")"
	}
	return value + "::VARCHAR"
}

// stores returns the column of the table that a member goes to which all records have, where nothing but the writer
// of Parquet files looks at it. Such a value is an enum of this one value, which is stored as the text that it is: the
// writer then copies and hashes a byte for each row instead of a text.
func (p *plan) stores(m record.Member) *tarn.Field {
	if col := find(p.columns, m.Name); !p.transforms && col != nil && col.Type.Kind == tarn.String {
		return col
	}
	return nil
}

// maxBound is the longest text that is noted as a bound of a column.
const maxBound = 1 << 10

// bound notes in the statistics of a file the bounds of columns that have the same value in all rows. DuckDB's
// statistics say nothing of enums.
func (p *plan) bound(f *table.DataFile, common []record.Member) {
	for _, m := range common {
		col := p.stores(m)
		if col == nil || len(m.Value) > maxBound {
			continue
		}
		if s, ok := f.Columns[col.ID]; ok {
			s.Lower, s.Upper = m.Value, m.Value
			f.Columns[col.ID] = s
		}
	}
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
