package duck

/*
#include <stdint.h>
#include <stdlib.h>

// The Go bindings have these two behind a build tag, which every "go build" of Tarn would have to
// repeat. Handles of DuckDB's C interface are pointers; the structs are Arrow's C data interface.
struct ArrowSchema;
struct ArrowArray;
extern void *duckdb_to_arrow_schema(void *options, void **types, const char **names, uint64_t columns, struct ArrowSchema *out);
extern void *duckdb_data_chunk_to_arrow(void *options, void *chunk, struct ArrowArray *out);
*/
import "C"

import (
	"unsafe"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/cdata"
	capi "github.com/duckdb/duckdb-go-bindings"

	"github.com/tarn-data/tarn"
)

// arrowReader turns DuckDB's chunks into Arrow batches that own their memory.
// Source: https://arrow.apache.org/docs/format/CDataInterface.html
type arrowReader struct {
	opts   capi.ArrowOptions
	schema *arrow.Schema
}

func newArrowReader(res *capi.Result, cols []Column) (*arrowReader, error) {
	r := &arrowReader{opts: capi.ResultGetArrowOptions(res)}
	err := r.readSchema(res, cols)
	if err != nil {
		r.close()
		return nil, err
	}
	return r, nil
}

func (r *arrowReader) readSchema(res *capi.Result, cols []Column) error {
	n := max(len(cols), 1)
	types := (*[1 << 20]unsafe.Pointer)(C.calloc(C.size_t(n), C.size_t(unsafe.Sizeof(uintptr(0)))))
	names := (*[1 << 20]*C.char)(C.calloc(C.size_t(n), C.size_t(unsafe.Sizeof(uintptr(0)))))
	out := (*cdata.CArrowSchema)(C.calloc(1, C.size_t(unsafe.Sizeof(cdata.CArrowSchema{}))))
	owned := make([]capi.LogicalType, len(cols))
	for i, c := range cols {
		owned[i] = capi.ColumnLogicalType(res, capi.IdxT(i))
		types[i], names[i] = owned[i].Ptr, C.CString(c.Name)
	}
	defer func() {
		for i := range cols {
			capi.DestroyLogicalType(&owned[i])
			C.free(unsafe.Pointer(names[i]))
		}
		cdata.ReleaseCArrowSchema(out)
		C.free(unsafe.Pointer(out))
		C.free(unsafe.Pointer(names))
		C.free(unsafe.Pointer(types))
	}()
	failed := C.duckdb_to_arrow_schema(r.opts.Ptr, &types[0], &names[0], C.uint64_t(len(cols)), (*C.struct_ArrowSchema)(unsafe.Pointer(out)))
	if err := arrowError(failed); err != nil {
		return err
	}
	schema, err := cdata.ImportCArrowSchema(out)
	if err != nil {
		return unsupportedColumn(err)
	}
	r.schema = schema
	return nil
}

// record copies a chunk into a batch.
func (r *arrowReader) record(chunk capi.DataChunk) (arrow.RecordBatch, error) {
	out := (*cdata.CArrowArray)(C.calloc(1, C.size_t(unsafe.Sizeof(cdata.CArrowArray{}))))
	defer func() {
		cdata.ReleaseCArrowArray(out)
		C.free(unsafe.Pointer(out))
	}()
	if err := arrowError(C.duckdb_data_chunk_to_arrow(r.opts.Ptr, chunk.Ptr, (*C.struct_ArrowArray)(unsafe.Pointer(out)))); err != nil {
		return nil, err
	}
	b, err := cdata.ImportCRecordBatchWithSchema(out, r.schema)
	if err != nil {
		return nil, unsupportedColumn(err)
	}
	return b, nil
}

func (r *arrowReader) close() { capi.DestroyArrowOptions(&r.opts) }

// arrowError takes over the error that a call returned.
func arrowError(failed unsafe.Pointer) error {
	ed := capi.ErrorData{Ptr: failed}
	defer capi.DestroyErrorData(&ed)
	if !capi.ErrorDataHasError(ed) {
		return nil
	}
	return unsupportedColumn(newFault(capi.ErrorDataMessage(ed)))
}

func unsupportedColumn(cause error) error {
	return &tarn.Error{Code: tarn.CodeUnsupported, Detail: "a result column has a type that can not leave the SQL engine",
		Hint: "cast it, for example to VARCHAR", Err: cause}
}
