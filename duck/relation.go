package duck

/*
#include <stdint.h>
#include <stdlib.h>

// What DuckDB calls, see relation_calls.go.
extern void tarnRelationBind(void *info);
extern void tarnRelationInit(void *info);
extern void tarnRelationJoin(void *info);
extern void tarnRelationScan(void *info, void *chunk);
extern void tarnRelationRelease(void *cell);

static void *relation_bind(void)    { return (void *)tarnRelationBind; }
static void *relation_init(void)    { return (void *)tarnRelationInit; }
static void *relation_join(void)    { return (void *)tarnRelationJoin; }
static void *relation_scan(void)    { return (void *)tarnRelationScan; }
static void *relation_release(void) { return (void *)tarnRelationRelease; }
*/
import "C"

import (
	"runtime/cgo"
	"strconv"
	"sync"
	"unsafe"

	capi "github.com/duckdb/duckdb-go-bindings"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/record/column"
)

// relationFunction is the table function that reads what Relate offers, by its number.
const relationFunction = "tarn_relation"

// relations are the relations that statements of a DB may read now. It is safe for concurrent use.
type relations struct {
	mu   sync.Mutex
	last int64
	open map[int64]column.Relation
}

// Relate offers the rows of a relation to statements of the DB, and returns SQL text, usable after FROM, that
// reads them. The caller may add an alias. A statement scans the relation once for each time it names it. Call
// done when no such statement runs any more.
func (d *DB) Relate(r column.Relation) (sql string, done func()) {
	d.relations.mu.Lock()
	defer d.relations.mu.Unlock()
	d.relations.last++
	id := d.relations.last
	d.relations.open[id] = r
	return relationFunction + "(" + strconv.FormatInt(id, 10) + ")", func() {
		d.relations.mu.Lock()
		defer d.relations.mu.Unlock()
		delete(d.relations.open, id)
	}
}

func (r *relations) find(id int64) column.Relation {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.open[id]
}

// register makes the function known to an instance.
func (r *relations) register(c capi.Connection) error {
	f := capi.CreateTableFunction()
	defer capi.DestroyTableFunction(&f)
	capi.TableFunctionSetName(f, relationFunction)
	number := capi.CreateLogicalType(capi.TypeBigInt)
	defer capi.DestroyLogicalType(&number)
	capi.TableFunctionAddParameter(f, number)
	capi.TableFunctionSetExtraInfo(f, newCell(r), C.relation_release())
	capi.TableFunctionSetBind(f, C.relation_bind())
	capi.TableFunctionSetInit(f, C.relation_init())
	capi.TableFunctionSetLocalInit(f, C.relation_join())
	capi.TableFunctionSetFunction(f, C.relation_scan())
	capi.TableFunctionSupportsProjectionPushdown(f, true)
	if capi.RegisterTableFunction(c, f) == capi.StateError {
		return &tarn.Error{Code: tarn.CodeInternal, Detail: "DuckDB refuses a table function"}
	}
	return nil
}

// relationRelease is the address of tarnRelationRelease.
func relationRelease() unsafe.Pointer { return C.relation_release() }

// newCell returns C memory that stands for a Go value until tarnRelationRelease frees it.
func newCell(v any) unsafe.Pointer {
	cell := (*C.uintptr_t)(C.malloc(C.size_t(unsafe.Sizeof(C.uintptr_t(0)))))
	*cell = C.uintptr_t(cgo.NewHandle(v))
	return unsafe.Pointer(cell)
}

// inCell returns the value that a cell stands for.
func inCell(cell unsafe.Pointer) any { return cgo.Handle(*(*C.uintptr_t)(cell)).Value() }

// logicalType returns DuckDB's type of a column; the caller destroys it.
func logicalType(t tarn.Type) capi.LogicalType {
	switch t.Kind {
	case tarn.Boolean:
		return capi.CreateLogicalType(capi.TypeBoolean)
	case tarn.Int:
		return capi.CreateLogicalType(capi.TypeInteger)
	case tarn.Long:
		return capi.CreateLogicalType(capi.TypeBigInt)
	case tarn.Double:
		return capi.CreateLogicalType(capi.TypeDouble)
	case tarn.TimestampTZ:
		return capi.CreateLogicalType(capi.TypeTimestampTZ)
	case tarn.Struct:
		types := make([]capi.LogicalType, len(t.Fields))
		names := make([]string, len(t.Fields))
		for i, f := range t.Fields {
			types[i], names[i] = logicalType(f.Type), f.Name
		}
		defer func() {
			for i := range types {
				capi.DestroyLogicalType(&types[i])
			}
		}()
		return capi.CreateStructType(types, names)
	}
	return capi.CreateLogicalType(capi.TypeVarchar)
}
