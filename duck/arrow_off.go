//go:build !duckdb_arrow

package duck

import (
	"github.com/apache/arrow-go/v18/arrow"
	capi "github.com/duckdb/duckdb-go-bindings"

	"github.com/tarn-data/tarn"
)

// arrowReader stands in for the real one in builds without Arrow: nothing can be read.
type arrowReader struct{ schema *arrow.Schema }

func newArrowReader(*capi.Result, []Column) (*arrowReader, error) {
	return nil, &tarn.Error{Code: tarn.CodeUnsupported, Detail: "this build of Tarn can not read SQL results", Hint: "build with -tags duckdb_arrow"}
}

func (r *arrowReader) record(capi.DataChunk) (arrow.RecordBatch, error) { return nil, nil }
func (r *arrowReader) close()                                           {}
