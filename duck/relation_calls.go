package duck

/*
#include <stdlib.h>
#include "texts.h"
*/
import "C"

import (
	"fmt"
	"math/bits"
	"runtime/cgo"
	"unsafe"

	capi "github.com/duckdb/duckdb-go-bindings"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/record/column"
)

// share is what one thread of a statement reads of a relation.
type share struct {
	reader    column.Reader
	batch     column.Batch
	projected []int // the columns that the statement wants, in its order
}

//export tarnRelationBind
func tarnRelationBind(info unsafe.Pointer) {
	b := capi.BindInfo{Ptr: info}
	defer guard(func(why string) { capi.BindSetError(b, why) })
	v := capi.BindGetParameter(b, 0)
	defer capi.DestroyValue(&v)
	r := inCell(capi.BindGetExtraInfo(b)).(*relations).find(capi.GetInt64(v))
	if r == nil {
		capi.BindSetError(b, "there is no such relation")
		return
	}
	for _, f := range r.Fields() {
		t := logicalType(f.Type)
		capi.BindAddResultColumn(b, f.Name, t)
		capi.DestroyLogicalType(&t)
	}
	capi.BindSetBindData(b, newCell(r), relationRelease())
}

//export tarnRelationInit
func tarnRelationInit(info unsafe.Pointer) {
	in := capi.InitInfo{Ptr: info}
	defer guard(func(why string) { capi.InitSetError(in, why) })
	s := inCell(capi.InitGetBindData(in)).(column.Relation).Scan()
	capi.InitSetMaxThreads(in, capi.IdxT(s.Readers()))
	capi.InitSetInitData(in, newCell(s), relationRelease())
}

// tarnRelationJoin is called by each thread of a statement that scans.
//
//export tarnRelationJoin
func tarnRelationJoin(info unsafe.Pointer) {
	in := capi.InitInfo{Ptr: info}
	defer guard(func(why string) { capi.InitSetError(in, why) })
	columns, ok := column.Of(inCell(capi.InitGetBindData(in)).(column.Relation).Fields())
	if !ok {
		capi.InitSetError(in, "a column has a type that relations do not have")
		return
	}
	s := &share{batch: column.Batch{Columns: columns}}
	for _, c := range columns {
		c.Unused = true
	}
	for i := range capi.InitGetColumnCount(in) {
		if at := int(capi.InitGetColumnIndex(in, i)); at < len(columns) {
			columns[at].Unused = false
			prepare(columns[at])
			s.projected = append(s.projected, at)
		} else {
			s.projected = append(s.projected, -1) // a row id, which nobody reads
		}
	}
	capi.InitSetInitData(in, newCell(s), relationRelease())
}

// prepare gives columns the memory that DuckDB has no place for.
func prepare(c *column.Column) {
	if c.Kind == tarn.String {
		c.Texts = make([]column.Text, column.Rows)
	}
	for _, k := range c.Children {
		prepare(k)
	}
}

//export tarnRelationScan
func tarnRelationScan(info, out unsafe.Pointer) {
	f, chunk := capi.FunctionInfo{Ptr: info}, capi.DataChunk{Ptr: out}
	defer guard(func(why string) { capi.FunctionSetError(f, why) })
	s := inCell(capi.FunctionGetLocalInitData(f)).(*share)
	if s.reader == nil {
		var err error
		if s.reader, err = inCell(capi.FunctionGetInitData(f)).(column.Scan).Open(); err != nil {
			capi.FunctionSetError(f, err.Error())
			return
		}
	}
	s.batch.Reset()
	for i, at := range s.projected {
		if at >= 0 {
			place(s.batch.Columns[at], capi.DataChunkGetVector(chunk, capi.IdxT(i)))
		}
	}
	rows, err := s.reader.Next(&s.batch)
	if err != nil {
		capi.FunctionSetError(f, err.Error())
		return
	}
	for i, at := range s.projected {
		if at >= 0 {
			if !s.finish(s.batch.Columns[at], capi.DataChunkGetVector(chunk, capi.IdxT(i)), rows) {
				capi.FunctionSetError(f, textsMemory)
				return
			}
		}
	}
	capi.DataChunkSetSize(chunk, capi.IdxT(rows))
}

// place lets a column write into a vector.
func place(c *column.Column, v capi.Vector) {
	switch c.Kind {
	case tarn.Boolean:
		c.Bools = vectorOf[bool](v)
	case tarn.Int:
		c.Ints = vectorOf[int32](v)
	case tarn.Long, tarn.TimestampTZ:
		c.Longs = vectorOf[int64](v)
	case tarn.Double:
		c.Doubles = vectorOf[float64](v)
	case tarn.Struct:
		for i, k := range c.Children {
			place(k, capi.StructVectorGetChild(v, capi.IdxT(i)))
		}
	}
}

func vectorOf[T any](v capi.Vector) []T {
	return unsafe.Slice((*T)(capi.VectorGetData(v)), column.Rows)
}

// finish hands over what stands in no vector yet: texts, and which rows are NULL. It reports false when there
// is no memory for the texts.
func (s *share) finish(c *column.Column, v capi.Vector, rows int) bool {
	if c.Kind == tarn.String && rows > 0 {
		done := C.tarn_assign_texts(v.Ptr, (*C.tarn_text)(unsafe.Pointer(&c.Texts[0])), (*C.uint64_t)(unsafe.Pointer(&c.Valid[0])), C.uint64_t(rows),
			(*C.char)(unsafe.Pointer(unsafe.SliceData(s.batch.Source))), (*C.char)(unsafe.Pointer(unsafe.SliceData(s.batch.Unescaped))))
		if done == 0 {
			return false
		}
	}
	for i, k := range c.Children {
		if !s.finish(k, capi.StructVectorGetChild(v, capi.IdxT(i)), rows) {
			return false
		}
	}
	words := c.Valid[:(rows+63)/64]
	valid := 0
	for _, w := range words {
		valid += bits.OnesCount64(w)
	}
	if valid < rows {
		capi.VectorEnsureValidityWritable(v)
		copy(unsafe.Slice((*uint64)(capi.VectorGetValidity(v)), len(words)), words)
	}
	return true
}

//export tarnRelationRelease
func tarnRelationRelease(cell unsafe.Pointer) {
	h := cgo.Handle(*(*C.uintptr_t)(cell))
	if s, ok := h.Value().(*share); ok && s.reader != nil {
		_ = s.reader.Close() // it was read only
	}
	h.Delete()
	C.free(cell)
}

// guard turns a panic into an error: DuckDB's frames are below.
func guard(fail func(why string)) {
	if r := recover(); r != nil {
		fail(fmt.Sprintf("reading a relation failed: %v", r))
	}
}
