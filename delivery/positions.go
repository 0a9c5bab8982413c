package delivery

import (
	"fmt"
	"strconv"
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
	shard  int
	offset uint64 // of the first
	count  int
	arrive time.Time
}

// places returns the runs of a chunk in order of their lines.
func (c *chunk) places() []placed {
	var out []placed
	for _, r := range c.ranges {
		if n := len(out); n > 0 {
			last := &out[n-1]
			if last.shard == r.shard && last.offset+uint64(last.count) == r.offset && last.arrive.Equal(r.arrive) {
				last.count += r.count
				continue
			}
		}
		out = append(out, placed{r.shard, r.offset, r.count, r.arrive})
	}
	return out
}

// withPositions adds the columns to the relation that reads the lines of a chunk in order; to none in
// particular when places is nil.
func withPositions(relation string, in tarn.Schema, places []placed) string {
	var kept []string
	for _, f := range in.Fields {
		if find(positionColumns, f.Name) == nil {
			kept = append(kept, "__lines."+tarn.QuoteIdent(f.Name))
		}
	}
	columns := strings.Join(append(kept, ""), ", ")
	from := " FROM " + relation + " AS __lines"
	switch len(places) {
	case 0:
		return "(SELECT " + columns + "0::INTEGER AS " + ShardColumn + ", 0::BIGINT AS " + OffsetColumn + ", TIMESTAMP '1970-01-01' AS " + ArrivalColumn + from + ")"
	case 1:
		p := places[0]
		return fmt.Sprintf("(SELECT %s%d::INTEGER AS %s, row_number() OVER () + %d AS %s, %s AS %s%s)", columns, p.shard, ShardColumn,
			int64(p.offset)-1, OffsetColumn, timestamp(p.arrive), ArrivalColumn, from)
	}
	return fmt.Sprintf("(SELECT %s__places.__shard AS %s, __places.__offset AS %s, __places.__arrive AS %s%s POSITIONAL JOIN (%s) AS __places)",
		columns, ShardColumn, OffsetColumn, ArrivalColumn, from, positionsOf(places))
}

// positionsOf is a SELECT of one row for each line. The numbers travel as texts, which cost the parser
// nothing: chunks of small requests have thousands of runs.
func positionsOf(places []placed) string {
	var shards, firsts, nexts, arrivals []byte
	for _, p := range places {
		shards = append(strconv.AppendInt(shards, int64(p.shard), 10), ',')
		firsts = append(strconv.AppendUint(firsts, p.offset, 10), ',')
		nexts = append(strconv.AppendUint(nexts, p.offset+uint64(p.count), 10), ',')
		arrivals = append(strconv.AppendInt(arrivals, p.arrive.UnixMicro(), 10), ',')
	}
	list := func(b []byte, of string) string {
		return fmt.Sprintf("unnest(string_split('%s', ',')::%s[])", b[:len(b)-1], of)
	}
	return fmt.Sprintf("SELECT __shard, unnest(range(__first, __next)) AS __offset, make_timestamp(__arrive) AS __arrive FROM (SELECT %s AS __shard, %s AS __first, %s AS __next, %s AS __arrive)",
		list(shards, "INTEGER"), list(firsts, "BIGINT"), list(nexts, "BIGINT"), list(arrivals, "BIGINT"))
}

func timestamp(t time.Time) string {
	return "TIMESTAMP '" + t.UTC().Format("2006-01-02 15:04:05.999999") + "'"
}
