//go:build duckdb_arrow

package duck

import (
	"github.com/apache/arrow-go/v18/arrow"
	capi "github.com/duckdb/duckdb-go-bindings"

	"github.com/tarn-data/tarn"
)

// arrowReader turns DuckDB's chunks into Arrow batches that own their memory.
type arrowReader struct {
	opts   capi.ArrowOptions
	schema *arrow.Schema
}

func newArrowReader(res *capi.Result, cols []Column) (*arrowReader, error) {
	r := &arrowReader{opts: capi.ResultGetArrowOptions(res)}
	names := make([]string, len(cols))
	types := make([]capi.LogicalType, len(cols))
	for i, c := range cols {
		names[i], types[i] = c.Name, capi.ColumnLogicalType(res, capi.IdxT(i))
	}
	defer func() {
		for i := range types {
			capi.DestroyLogicalType(&types[i])
		}
	}()
	schema, ed := capi.NewArrowSchema(r.opts, types, names)
	if err := arrowError(ed); err != nil {
		r.close()
		return nil, err
	}
	r.schema = schema
	return r, nil
}

func (r *arrowReader) record(chunk capi.DataChunk) (arrow.RecordBatch, error) {
	b, ed := capi.DataChunkToArrowArray(r.opts, r.schema, chunk)
	return b, arrowError(ed)
}

func (r *arrowReader) close() { capi.DestroyArrowOptions(&r.opts) }

func arrowError(ed capi.ErrorData) error {
	defer capi.DestroyErrorData(&ed)
	if !capi.ErrorDataHasError(ed) {
		return nil
	}
	return &tarn.Error{Code: tarn.CodeUnsupported, Detail: "a result column has a type that can not leave the SQL engine",
		Hint: "cast it, for example to VARCHAR", Err: newFault(capi.ErrorDataMessage(ed))}
}
