package cases

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Row is one row or failed record: the canonical JSON of each of its members that is not null.
type Row map[string]string

// Parse reads NDJSON. Members named in ignore are left out.
func Parse(ndjson []byte, ignore []string) ([]Row, error) {
	var rows []Row
	for n, line := 1, []byte(nil); len(ndjson) > 0; n++ {
		line, ndjson, _ = bytes.Cut(ndjson, []byte("\n"))
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		var members map[string]any
		dec := json.NewDecoder(bytes.NewReader(line))
		dec.UseNumber()
		err := dec.Decode(&members)
		if err == nil {
			if _, more := dec.Token(); !errors.Is(more, io.EOF) {
				err = errors.New("something follows the object")
			}
		}
		if err != nil || members == nil {
			return nil, fmt.Errorf("line %d is not one JSON object", n)
		}
		row := make(Row, len(members))
		for k, v := range members {
			if v != nil && !slices.ContainsFunc(ignore, func(c string) bool { return strings.EqualFold(c, k) }) {
				row[k] = string(appendCanon(nil, v))
			}
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// String is the row as canonical JSON.
func (r Row) String() string {
	var b strings.Builder
	b.WriteByte('{')
	for i, k := range slices.Sorted(maps.Keys(r)) {
		if i > 0 {
			b.WriteByte(',')
		}
		b.Write(quote(nil, k))
		b.WriteByte(':')
		b.WriteString(r[k])
	}
	b.WriteByte('}')
	return b.String()
}

// Format writes rows one a line, sorted unless their order counts.
func Format(rows []Row, ordered bool) []byte {
	lines := make([]string, len(rows))
	for i, r := range rows {
		lines[i] = r.String() + "\n"
	}
	if !ordered {
		slices.Sort(lines)
	}
	return []byte(strings.Join(lines, ""))
}

func appendCanon(dst []byte, v any) []byte {
	switch v := v.(type) {
	case map[string]any:
		dst = append(dst, '{')
		for i, k := range slices.Sorted(maps.Keys(v)) {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(quote(dst, k), ':')
			dst = appendCanon(dst, v[k])
		}
		return append(dst, '}')
	case []any:
		dst = append(dst, '[')
		for i, e := range v {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendCanon(dst, e)
		}
		return append(dst, ']')
	case json.Number:
		return append(dst, number(string(v))...)
	case string:
		return quote(dst, moment(v))
	case bool:
		return strconv.AppendBool(dst, v)
	}
	return append(dst, "null"...)
}

func quote(dst []byte, s string) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // a string always encodes
	return append(dst, bytes.TrimRight(b.Bytes(), "\n")...)
}

// number writes equal numbers alike: 1.0, 1 and 1e0 are 1. Whole numbers keep all their digits.
func number(s string) string {
	if !strings.ContainsAny(s, ".eE") {
		if s == "-0" {
			return "0"
		}
		return s
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return s
	}
	if f == float64(int64(f)) && f < 1<<53 && f > -1<<53 {
		return strconv.FormatInt(int64(f), 10)
	}
	return strconv.FormatFloat(f, 'g', -1, 64)
}

var looksLikeTime = regexp.MustCompile(`^\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)?$`)

// moment writes equal times alike: in UTC, with no more digits than they need. A time without a zone is
// in UTC, as in tables.
func moment(s string) string {
	if !looksLikeTime.MatchString(s) {
		return s
	}
	for _, layout := range []string{"2006-01-02T15:04:05.999999999Z07:00", "2006-01-02T15:04:05.999999999"} {
		if at, err := time.Parse(layout, strings.Replace(s, " ", "T", 1)); err == nil {
			return at.UTC().Format("2006-01-02T15:04:05.999999999Z")
		}
	}
	return s
}
