package query

import (
	"bufio"
	"encoding/json"
	"strings"
)

func (r *Result) writeCSV(b *bufio.Writer) error {
	for i, n := range r.uniqueNames() {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(csvField(n))
	}
	b.WriteByte('\n')
	var buf []byte
	for r.Next() {
		cells := r.cells()
		batch := r.Batch()
		for i := range int(batch.NumRows()) {
			for c, cell := range cells {
				if c > 0 {
					b.WriteByte(',')
				}
				if batch.Column(c).IsNull(i) {
					continue
				}
				buf = cell(buf[:0], i)
				b.WriteString(csvText(buf))
			}
			if err := b.WriteByte('\n'); err != nil {
				return gone(err)
			}
		}
	}
	return r.err
}

// csvText turns the JSON of a value into a CSV field: texts lose their JSON quotes.
func csvText(v []byte) string {
	if len(v) < 2 || v[0] != '"' {
		return csvField(string(v))
	}
	inner := v[1 : len(v)-1]
	if strings.IndexByte(string(inner), '\\') < 0 {
		return csvField(string(inner))
	}
	var s string
	if json.Unmarshal(v, &s) != nil {
		return csvField(string(inner))
	}
	return csvField(s)
}

// csvField quotes what needs it; the empty text always, to differ from NULL.
func csvField(s string) string {
	if s != "" && !strings.ContainsAny(s, ",\"\r\n") && s[0] != ' ' && s[len(s)-1] != ' ' {
		return s
	}
	return `"` + strings.ReplaceAll(s, `"`, `""`) + `"`
}
