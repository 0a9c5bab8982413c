package delivery

import (
	"fmt"
	"strings"
	"time"

	"github.com/tarn-data/tarn"
)

// The columns that Config.Positions adds to records.
const (
	ShardColumn   = "record_shard"
	OffsetColumn  = "record_offset"
	ArrivalColumn = "record_arrival"
)

// positionColumns say where a record comes from, and when it was accepted.
var positionColumns = []tarn.Field{
	{Name: ShardColumn, Type: tarn.Type{Kind: tarn.Int}},
	{Name: OffsetColumn, Type: tarn.Type{Kind: tarn.Long}},
	{Name: ArrivalColumn, Type: tarn.Type{Kind: tarn.Timestamp}},
}

// relation is the columns of records as the transform sees them. Members of those names give way.
func (c Config) relation(in tarn.Schema) tarn.Schema {
	if !c.positions() {
		return in
	}
	var out tarn.Schema
	for _, f := range in.Fields {
		if find(positionColumns, f.Name) == nil {
			out.Fields = append(out.Fields, f)
		}
	}
	out.Fields = append(out.Fields, positionColumns...)
	return out
}

// positions reports whether records get the columns. An opaque record has its own.
func (c Config) positions() bool { return c.Positions && !c.Opaque }

// placed is a run of lines of a chunk whose positions follow each other.
type placed struct {
	line   int // the first
	shard  int
	offset uint64
	arrive time.Time
}

// places returns the runs of a chunk in order of their lines.
func (c *chunk) places() []placed {
	var out []placed
	for _, r := range c.ranges {
		if n := len(out); n > 0 {
			last := &out[n-1]
			if last.shard == r.shard && last.offset+uint64(r.line-last.line) == r.offset && last.arrive.Equal(r.arrive) {
				continue
			}
		}
		out = append(out, placed{r.line, r.shard, r.offset, r.arrive})
	}
	return out
}

// withPositions adds the columns to the relation that reads the lines of a chunk in order; to none in
// particular when places is nil.
func withPositions(relation string, in tarn.Schema, places []placed) string {
	var kept []string
	for _, f := range in.Fields {
		if find(positionColumns, f.Name) == nil {
			kept = append(kept, tarn.QuoteIdent(f.Name))
		}
	}
	columns := strings.Join(append(kept, ""), ", ")
	switch len(places) {
	case 0:
		return "(SELECT " + columns + "0::INTEGER AS " + ShardColumn + ", 0::BIGINT AS " + OffsetColumn + ", TIMESTAMP '1970-01-01' AS " + ArrivalColumn + " FROM " + relation + ")"
	case 1:
		p := places[0]
		return fmt.Sprintf("(SELECT %s%d::INTEGER AS %s, row_number() OVER () + %d AS %s, %s AS %s FROM %s)", columns, p.shard, ShardColumn,
			int64(p.offset)-int64(p.line)-1, OffsetColumn, timestamp(p.arrive), ArrivalColumn, relation)
	}
	var b strings.Builder
	for i, p := range places {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "(%d::BIGINT, %d::INTEGER, %d::BIGINT, %s)", p.line, p.shard, int64(p.offset)-int64(p.line), timestamp(p.arrive))
	}
	return fmt.Sprintf("(SELECT %s__place.shard AS %s, __numbered.__line + __place.delta AS %s, __place.arrive AS %s FROM (SELECT *, row_number() OVER () - 1 AS __line FROM %s) AS __numbered "+
		"ASOF JOIN (VALUES %s) AS __place(line, shard, delta, arrive) ON __numbered.__line >= __place.line)", columns, ShardColumn, OffsetColumn, ArrivalColumn, relation, b.String())
}

func timestamp(t time.Time) string {
	return "TIMESTAMP '" + t.UTC().Format("2006-01-02 15:04:05.999999") + "'"
}
