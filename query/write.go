package query

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/apache/arrow-go/v18/arrow/ipc"

	"github.com/tarn-data/tarn"
)

// Write writes the whole result to w in the request's format and returns what ended it early: an
// error of the statement (told to the reader as Format says) or of w. The caller still closes r.
func (r *Result) Write(w io.Writer) error {
	switch r.run.req.Format {
	case Parquet:
		return r.writeFile(w)
	case Arrow:
		return r.writeArrow(w)
	}
	b := bufio.NewWriterSize(w, 64<<10)
	var err error
	switch r.run.req.Format {
	case NDJSON:
		err = r.writeNDJSON(b)
	case CSV:
		err = r.writeCSV(b)
	default:
		err = r.writeJSON(b)
	}
	if ferr := b.Flush(); err == nil && ferr != nil {
		err = &tarn.Error{Code: tarn.CodeCanceled, Detail: "the reader of the result went away", Err: ferr}
	}
	if r.err == nil {
		r.err = err
	}
	return err
}

// Format returns the format Write uses.
func (r *Result) Format() Format { return r.run.req.Format }

// rowWriter writes the rows of batches as JSON objects.
type rowWriter struct {
	keys [][]byte // `"name":`, the later ones with a comma in front
	buf  []byte
}

func newRowWriter(names []string) *rowWriter {
	w := &rowWriter{}
	for i, n := range names {
		key := append(appendQuoted(nil, n), ':')
		if i > 0 {
			key = append([]byte{','}, key...)
		}
		w.keys = append(w.keys, key)
	}
	return w
}

// uniqueNames gives repeated and empty names their own.
func (r *Result) uniqueNames() []string {
	used := map[string]bool{}
	names := make([]string, len(r.columns))
	for i, c := range r.columns {
		name := c.Name
		for n := 1; used[name]; n++ {
			name = c.Name + "_" + strconv.Itoa(n)
		}
		used[name] = true
		names[i] = name
	}
	return names
}

// cells makes the writers of the current batch.
func (r *Result) cells() []cell {
	b := r.Batch()
	cells := make([]cell, b.NumCols())
	for i := range cells {
		cells[i] = jsonCell(b.Column(i), r.types[i])
	}
	return cells
}

func (w *rowWriter) row(cells []cell, i int) []byte {
	dst := append(w.buf[:0], '{')
	for c, cell := range cells {
		dst = cell(append(dst, w.keys[c]...), i)
	}
	w.buf = append(dst, '}')
	return w.buf
}

func (r *Result) writeNDJSON(b *bufio.Writer) error {
	rows := newRowWriter(r.uniqueNames())
	for first := true; r.Next(); first = false {
		cells := r.cells()
		for i := range int(r.Batch().NumRows()) {
			if _, err := b.Write(append(rows.row(cells, i), '\n')); err != nil {
				return gone(err)
			}
		}
		if first {
			b.Flush() // the first rows are worth a write of their own
		}
	}
	if r.err != nil {
		b.WriteString(`{"error":` + errorJSON(r.err) + "}\n")
	}
	return r.err
}

func (r *Result) writeJSON(b *bufio.Writer) error {
	names := r.uniqueNames()
	rows := newRowWriter(names)
	cols := make([]Column, len(names))
	for i, n := range names {
		cols[i] = Column{Name: n, Type: r.columns[i].Type}
	}
	head, err := json.Marshal(cols)
	if err != nil {
		return err
	}
	b.WriteString(`{"columns":` + string(head) + `,"rows":[`)
	sep := "\n"
	for r.Next() {
		cells := r.cells()
		for i := range int(r.Batch().NumRows()) {
			b.WriteString(sep)
			sep = ",\n"
			if _, err := b.Write(rows.row(cells, i)); err != nil {
				return gone(err)
			}
		}
	}
	st := r.Stats()
	b.WriteString("]")
	if r.err != nil {
		b.WriteString(`,"error":` + errorJSON(r.err))
	}
	fmt.Fprintf(b, ",\"row_count\":%d,\"elapsed_ms\":%.3f}\n", st.Rows, float64(st.Elapsed.Microseconds())/1000)
	return r.err
}

func gone(err error) error {
	return &tarn.Error{Code: tarn.CodeCanceled, Detail: "the reader of the result went away", Err: err}
}

func errorJSON(err error) string {
	v := struct {
		Code   tarn.Code `json:"code"`
		Detail string    `json:"detail"`
		Hint   string    `json:"hint,omitempty"`
	}{Code: tarn.CodeOf(err), Detail: "internal error"}
	if e := asError(err); e != nil {
		v.Detail, v.Hint = e.Detail, e.Hint
	}
	b, _ := json.Marshal(v) // strings always marshal
	return string(b)
}

func (r *Result) writeArrow(w io.Writer) error {
	iw := ipc.NewWriter(w, ipc.WithSchema(r.Schema()))
	for r.Next() {
		if err := iw.Write(r.Batch()); err != nil {
			r.err = gone(err)
			return r.err
		}
	}
	if r.err != nil {
		return r.err // without the end mark: the reader sees a broken stream
	}
	if err := iw.Close(); err != nil {
		r.err = gone(err)
	}
	return r.err
}

func (r *Result) writeFile(w io.Writer) error {
	f, err := os.Open(r.file)
	if err != nil {
		return &tarn.Error{Code: tarn.CodeInternal, Detail: "the result could not be read back", Err: err}
	}
	defer f.Close()
	if _, err := io.Copy(w, f); err != nil {
		r.err = gone(err)
	}
	return r.err
}
