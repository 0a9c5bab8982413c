package catalog

import (
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/tarn-data/tarn"
)

// hiveNull is the folder name Hive gives to the partition of NULL.
const hiveNull = "__HIVE_DEFAULT_PARTITION__"

// partition is one key=value folder on the way to a file.
type partition struct {
	key   string
	value string // unescaped
	null  bool
}

// partitions returns the Hive partitions in a path, outermost first.
func partitions(file string) []partition {
	var out []partition
	dir, _ := path.Split(file)
	for part := range strings.SplitSeq(dir, "/") {
		if p, ok := hive(part); ok {
			out = append(out, p)
		}
	}
	return out
}

func hive(part string) (partition, bool) {
	key, value, ok := strings.Cut(part, "=")
	if !ok || key == "" || strings.Contains(value, "=") {
		return partition{}, false
	}
	if value == hiveNull {
		return partition{key: key, null: true}, true
	}
	if v, err := url.PathUnescape(value); err == nil {
		value = v
	}
	return partition{key: key, value: value}, true
}

// datasetFolder is the folder of a file without the Hive partitions at its end, "." for the root.
// hasKeys reports that there are any.
func datasetFolder(file string) (folder string, hasKeys bool) {
	folder = path.Dir(file)
	parts := strings.Split(folder, "/")
	for i, p := range parts {
		if _, ok := hive(p); ok {
			return path.Clean(strings.Join(parts[:i], "/")), true
		}
	}
	return folder, false
}

// valueType is the type one partition value has by itself, as DuckDB sees it: BIGINT, DATE or
// VARCHAR. Numbers that begin with 0 and have more than two digits are identifiers, not numbers.
func valueType(v string) tarn.Type {
	if n, err := strconv.ParseInt(v, 10, 64); err == nil {
		if canonical := strconv.FormatInt(n, 10); canonical == v || len(v) == 2 && v == "0"+canonical {
			return tarn.Type{Kind: tarn.Long}
		}
	}
	if _, err := time.Parse(time.DateOnly, v); err == nil {
		return tarn.Type{Kind: tarn.Date}
	}
	return tarn.Type{Kind: tarn.String}
}

// bound returns a partition value in the type of its column, as query.Bounds has it; nil is NULL. It
// reports false when the value does not read as that type.
func (p partition) bound(t tarn.Type) (any, bool) {
	if p.null {
		return nil, true
	}
	switch t.Kind {
	case tarn.Long:
		n, err := strconv.ParseInt(p.value, 10, 64)
		return n, err == nil
	case tarn.Date:
		d, err := time.Parse(time.DateOnly, p.value)
		return d, err == nil
	case tarn.String:
		return p.value, true
	}
	return nil, false
}
