package metadb

import (
	"strconv"
	"strings"
)

// bind rewrites ? placeholders to $1, $2, … for PostgreSQL. Question marks inside '…' and "…" stay.
func (d *DB) bind(q string) string {
	if !d.postgres || strings.IndexByte(q, '?') < 0 {
		return q
	}
	return numbered(q)
}

func numbered(q string) string {
	var b strings.Builder
	b.Grow(len(q) + 16)
	n, quote := 0, byte(0)
	for i := range len(q) {
		c := q[i]
		switch {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '\'' || c == '"':
			quote = c
		case c == '?':
			n++
			b.WriteByte('$')
			b.WriteString(strconv.Itoa(n))
			continue
		}
		b.WriteByte(c)
	}
	return b.String()
}
