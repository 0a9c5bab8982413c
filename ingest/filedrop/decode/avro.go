package decode

import (
	"bufio"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"math"
	"math/big"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/avro"
	"github.com/twmb/avro/ocf"

	"github.com/tarn-data/tarn"
)

// avroBlockBytes bounds one block of an Avro file, compressed and not (I8).
const avroBlockBytes = 64 << 20

// avroFile yields the records of an Avro object container file: dates as 2006-01-02, times as RFC
// 3339, decimals as numbers, bytes in base64, what is not a finite number as null.
type avroFile struct {
	src   io.Closer
	r     *ocf.Reader
	root  *avro.SchemaNode
	named map[string]*avro.SchemaNode
	count int64
	buf   []byte
}

func openAvro(src io.ReadCloser) (Records, error) {
	r, err := ocf.NewReader(bufio.NewReaderSize(src, blockBytes), ocf.WithMaxBlockBytes(avroBlockBytes), ocf.WithMaxDecompressedBlockBytes(avroBlockBytes))
	if err != nil {
		return nil, avroError(err)
	}
	f := &avroFile{src: src, r: r, root: r.Schema().Root(), named: map[string]*avro.SchemaNode{}}
	if f.root.Type != "record" {
		return nil, &tarn.Error{Code: tarn.CodeUnsupported, Detail: "the Avro file holds values of type " + f.root.Type + ", not records", Hint: "write records"}
	}
	f.learn(f.root)
	return f, nil
}

func avroError(err error) error {
	return &tarn.Error{Code: tarn.CodeInvalid, Detail: "the Avro file is damaged: " + err.Error(), Hint: "write it again, whole, and drop it again"}
}

// learn remembers the named types, which other places refer to.
func (f *avroFile) learn(n *avro.SchemaNode) {
	if n.Name != "" {
		f.named[n.Name] = n
		if n.Namespace != "" {
			f.named[n.Namespace+"."+n.Name] = n
		}
	}
	for i := range n.Fields {
		f.learn(&n.Fields[i].Type)
	}
	for i := range n.Branches {
		f.learn(&n.Branches[i])
	}
	if n.Items != nil {
		f.learn(n.Items)
	}
	if n.Values != nil {
		f.learn(n.Values)
	}
}

// Next implements Records.
func (f *avroFile) Next() ([]byte, int64, error) {
	f.count++
	var v any
	if err := f.r.Decode(&v); err != nil {
		if err == io.EOF {
			return nil, f.count, err
		}
		return nil, f.count, avroError(err)
	}
	f.buf = f.value(f.buf[:0], f.root, v)
	return f.buf, f.count, nil
}

// Close implements Records.
func (f *avroFile) Close() error {
	_ = f.r.Close()
	return f.src.Close()
}

// value appends v, which the schema node describes; the node may be nil.
func (f *avroFile) value(dst []byte, n *avro.SchemaNode, v any) []byte {
	n = f.resolve(n, v)
	switch v := v.(type) {
	case nil:
		return append(dst, "null"...)
	case bool:
		return strconv.AppendBool(dst, v)
	case int32:
		return strconv.AppendInt(dst, int64(v), 10)
	case int64:
		return strconv.AppendInt(dst, v, 10)
	case float32:
		return appendFloat(dst, float64(v), 32)
	case float64:
		return appendFloat(dst, v, 64)
	case string:
		return appendString(dst, []byte(v))
	case []byte:
		return append(base64.StdEncoding.AppendEncode(append(dst, '"'), v), '"')
	case time.Time:
		return append(v.AppendFormat(append(dst, '"'), layout(n)), '"')
	case time.Duration:
		return append(time.Time{}.Add(v).AppendFormat(append(dst, '"'), "15:04:05.999999"), '"')
	case *big.Rat:
		return append(dst, v.FloatString(n.Scale)...)
	case [16]byte:
		return appendUUID(dst, v)
	case []any:
		return f.list(dst, n, v)
	case map[string]any:
		return f.object(dst, n, v)
	}
	return appendString(dst, fmt.Append(nil, v))
}

func (f *avroFile) list(dst []byte, n *avro.SchemaNode, v []any) []byte {
	dst = append(dst, '[')
	for i, e := range v {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = f.value(dst, n.Items, e)
	}
	return append(dst, ']')
}

func (f *avroFile) object(dst []byte, n *avro.SchemaNode, v map[string]any) []byte {
	dst = append(dst, '{')
	member := func(i int, name string, n *avro.SchemaNode, e any) {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = f.value(append(appendString(dst, []byte(name)), ':'), n, e)
	}
	if n.Type == "record" {
		for i := range n.Fields {
			member(i, n.Fields[i].Name, &n.Fields[i].Type, v[n.Fields[i].Name])
		}
	} else {
		for i, k := range slices.Sorted(maps.Keys(v)) {
			member(i, k, n.Values, v[k])
		}
	}
	return append(dst, '}')
}

// resolve returns the node that describes v: of a union its branch, of a name its type.
func (f *avroFile) resolve(n *avro.SchemaNode, v any) *avro.SchemaNode {
	if n == nil {
		return &avro.SchemaNode{}
	}
	if n.Type == "union" {
		for i := range n.Branches {
			if b := f.resolve(&n.Branches[i], v); describes(b, v) {
				return b
			}
		}
	}
	if t := f.named[n.Type]; t != nil {
		return t
	}
	return n
}

// describes reports whether a branch of a union may hold v.
func describes(n *avro.SchemaNode, v any) bool {
	switch v := v.(type) {
	case map[string]any:
		if n.Type == "record" {
			for i := range n.Fields {
				if _, ok := v[n.Fields[i].Name]; !ok {
					return false
				}
			}
			return len(n.Fields) == len(v)
		}
		return n.Type == "map"
	case []any:
		return n.Type == "array"
	case time.Time, time.Duration, *big.Rat:
		return n.LogicalType != ""
	}
	return false
}

// layout is how a point in time is written.
func layout(n *avro.SchemaNode) string {
	switch n.LogicalType {
	case "date":
		return time.DateOnly
	case "local-timestamp-millis", "local-timestamp-micros", "local-timestamp-nanos":
		return "2006-01-02T15:04:05.999999999"
	}
	return time.RFC3339Nano
}

func appendFloat(dst []byte, v float64, bits int) []byte {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return append(dst, "null"...)
	}
	return strconv.AppendFloat(dst, v, 'g', -1, bits)
}

func appendUUID(dst []byte, v [16]byte) []byte {
	dst = append(dst, '"')
	for i, from := 0, 0; i < 5; i++ {
		if i > 0 {
			dst = append(dst, '-')
		}
		n := [5]int{4, 2, 2, 2, 6}[i]
		dst = hex.AppendEncode(dst, v[from:from+n])
		from += n
	}
	return append(dst, '"')
}
