package column

import (
	"errors"

	"github.com/tarn-data/tarn"
)

// Rows is the most rows of a batch: a vector of DuckDB.
const Rows = 2048

// ErrAsk: a record holds a value that only the SQL engine can judge or convert. Nothing is wrong with it;
// whoever reads the records has them parsed by the engine instead.
var ErrAsk = errors.New("a value needs the SQL engine's own reader")

// Column is the values of one column in a batch, those of up to Rows rows. Which memory counts is said by
// Kind; it has room for Rows values and belongs to whoever made the batch.
//
//	Boolean        Bools
//	Int            Ints
//	Long           Longs
//	TimestampTZ    Longs, microseconds since 1970 in UTC
//	Double         Doubles
//	String         Texts
//	Struct         Children, NULL where their struct is
//
// A row is NULL until Set says otherwise.
type Column struct {
	Name     string
	Kind     tarn.Kind
	Children []*Column

	Bools   []bool
	Ints    []int32
	Longs   []int64
	Doubles []float64
	Texts   []Text

	Unused bool // nobody reads the column: it has no memory, and no value may be set
	Valid  [Rows / 64]uint64
}

// Text is where the value of a row is: Length bytes at Start of Batch.Source, or, with a Start below zero,
// at -1-Start of Batch.Unescaped.
type Text struct{ Start, Length int32 }

// Set notes that the row has a value.
func (c *Column) Set(row int) { c.Valid[row>>6] |= 1 << (row & 63) }

// Batch is the next rows of a relation.
type Batch struct {
	Columns   []*Column
	Source    []byte // what texts lie in; it does not change while the batch is read
	Unescaped []byte // other texts
}

// Reset makes the batch empty.
func (b *Batch) Reset() {
	b.Source, b.Unescaped = nil, b.Unescaped[:0]
	reset(b.Columns)
}

func reset(columns []*Column) {
	for _, c := range columns {
		c.Valid = [Rows / 64]uint64{}
		reset(c.Children)
	}
}

// Of returns the columns of a schema without memory, or false when one has a type that no column can hold.
func Of(fields []tarn.Field) ([]*Column, bool) {
	var out []*Column
	for _, f := range fields {
		c := &Column{Name: f.Name, Kind: f.Type.Kind}
		switch f.Type.Kind {
		case tarn.Boolean, tarn.Int, tarn.Long, tarn.Double, tarn.String, tarn.TimestampTZ:
		case tarn.Struct:
			var ok bool
			if c.Children, ok = Of(f.Type.Fields); !ok || len(c.Children) == 0 {
				return nil, false
			}
		default:
			return nil, false
		}
		out = append(out, c)
	}
	return out, len(out) > 0
}

// Relation is rows that a statement can read, as often as it likes. It is safe for concurrent use.
type Relation interface {
	Fields() []tarn.Field // of types that Of accepts
	// Scan begins to read the rows once.
	Scan() Scan
}

// Scan is one reading of a relation. It is safe for concurrent use.
type Scan interface {
	// Readers is how many readers at most may share the rows; one alone gets them in their order.
	Readers() int
	Open() (Reader, error)
}

// Reader reads a part of the rows of a scan, or all. It belongs to one goroutine at a time.
type Reader interface {
	// Next fills an empty batch, whose columns are those of the relation in order, and returns its rows; 0
	// at the end. An error ends the statement.
	Next(*Batch) (rows int, err error)
	Close() error
}
