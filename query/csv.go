package query

import (
	"bufio"
	"bytes"
	"encoding/json"
)

func (r *Result) writeCSV(b *bufio.Writer) error {
	var line []byte
	for i, n := range r.uniqueNames() {
		if i > 0 {
			line = append(line, ',')
		}
		line = appendField(line, []byte(n))
	}
	if _, err := b.Write(append(line, '\n')); err != nil {
		return gone(err)
	}
	var value []byte
	for r.Next() {
		cells := r.cells()
		batch := r.Batch()
		nulls := make([]func(int) bool, len(cells))
		for c := range nulls {
			nulls[c] = batch.Column(c).IsNull
		}
		for i := range int(batch.NumRows()) {
			line = line[:0]
			for c, cell := range cells {
				if c > 0 {
					line = append(line, ',')
				}
				if !nulls[c](i) {
					value = cell(value[:0], i)
					line = appendCSV(line, value)
				}
			}
			if _, err := b.Write(append(line, '\n')); err != nil {
				return gone(err)
			}
		}
	}
	return r.err
}

// appendCSV appends the JSON of a value as a CSV field: texts lose their JSON quotes.
func appendCSV(dst, v []byte) []byte {
	if len(v) < 2 || v[0] != '"' {
		return appendField(dst, v)
	}
	inner := v[1 : len(v)-1]
	if bytes.IndexByte(inner, '\\') < 0 {
		return appendField(dst, inner)
	}
	var s string
	if json.Unmarshal(v, &s) == nil {
		inner = []byte(s)
	}
	return appendField(dst, inner)
}

// csvSpecial marks the bytes that make a field need quotes.
var csvSpecial = [256]bool{',': true, '"': true, '\r': true, '\n': true}

// appendField quotes what needs it; the empty text always, to differ from NULL.
func appendField(dst, s []byte) []byte {
	quote := len(s) == 0 || s[0] == ' ' || s[len(s)-1] == ' '
	for i := 0; i < len(s) && !quote; i++ {
		quote = csvSpecial[s[i]]
	}
	if !quote {
		return append(dst, s...)
	}
	dst = append(dst, '"')
	for _, c := range s {
		if c == '"' {
			dst = append(dst, '"')
		}
		dst = append(dst, c)
	}
	return append(dst, '"')
}
