package twin

import (
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/metadb"
)

// Limits of an update, in bytes.
const (
	MaxComponentBytes = 1024
	MaxMetricBytes    = 255
	MaxLabelBytes     = 255     // type, unit, pipeline, source
	MaxValueBytes     = 1 << 20 // text and JSON
)

// Position names the record an update comes from. The zero Position is that of direct writes.
type Position struct {
	Stream string
	tarn.Position
}

// String returns "stream/shard:offset", and "" for the zero Position.
func (p Position) String() string {
	if p == (Position{}) {
		return ""
	}
	return p.Stream + "/" + p.Position.String()
}

// Update is one value of one metric.
type Update struct {
	Component string
	Type      string // of the component; may be empty
	Metric    string
	Value     Value // the zero Value removes the metric
	At        time.Time
	Unit      string
	Pipeline  string // what brought it, with Source and Position
	Source    string
	Position  Position
}

// Key names a metric of a component.
type Key struct {
	Component string `json:"component"`
	Metric    string `json:"metric"`
}

// Compare orders keys by their bytes.
func (k Key) Compare(o Key) int {
	if c := strings.Compare(k.Component, o.Component); c != 0 {
		return c
	}
	return strings.Compare(k.Metric, o.Metric)
}

// Key returns what the update is of.
func (u *Update) Key() Key { return Key{u.Component, u.Metric} }

// order is the place of an update among all updates of its metric: by time, position, and a hash of
// the content. The greatest wins.
type order struct {
	at     int64 // microseconds since 1970
	stream string
	shard  int32
	offset uint64
	hash   uint64
}

func (o order) compare(p order) int {
	return cmp.Or(cmp.Compare(o.at, p.at), strings.Compare(o.stream, p.stream), cmp.Compare(o.shard, p.shard), cmp.Compare(o.offset, p.offset), cmp.Compare(o.hash, p.hash))
}

// order returns the order of a checked update.
func (u *Update) order() order {
	return order{metadb.Micros(u.At), u.Position.Stream, int32(u.Position.Shard), u.Position.Offset, u.hash()}
}

// hash is FNV-1a over everything that tells two updates of one time and position apart.
func (u *Update) hash() uint64 {
	h := fnv.New64a()
	var n [9]byte
	n[0] = byte(u.Value.kind)
	binary.BigEndian.PutUint64(n[1:], math.Float64bits(u.Value.number))
	h.Write(n[:])
	for _, s := range [...]string{u.Value.text, u.Type, u.Unit, u.Pipeline, u.Source} {
		binary.BigEndian.PutUint64(n[1:], uint64(len(s)))
		h.Write(n[1:])
		h.Write([]byte(s))
	}
	return h.Sum64()
}

// The times that Update.At may be: those that microseconds and every reader can hold.
var (
	firstTime = time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC)
	lastTime  = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
)

// check returns what is wrong with an update, whatever the schema, and cuts its time to microseconds.
func (u *Update) check() error {
	if err := CheckComponent(u.Component); err != nil {
		return err
	}
	if err := CheckMetric(u.Metric); err != nil {
		return err
	}
	for _, label := range [...]struct{ what, text string }{{"type", u.Type}, {"unit", u.Unit}, {"pipeline", u.Pipeline}, {"source", u.Source}, {"stream", u.Position.Stream}} {
		if label.text != "" && !printable(label.text, MaxLabelBytes) {
			return invalid("the "+label.what+" "+strconv.Quote(clip(label.text))+" cannot be kept", "use at most 255 bytes of printable text")
		}
	}
	if u.At.Before(firstTime) || u.At.After(lastTime) || u.At.IsZero() {
		return invalid("the update has no usable time", "at must be a time between the years 1 and 9999")
	}
	if u.Position.Shard < 0 || u.Position.Shard > math.MaxInt32 {
		return invalid("the position "+u.Position.String()+" does not exist", "shards count from 0")
	}
	u.At = u.At.UTC().Truncate(time.Microsecond)
	return u.Value.check()
}

func (v Value) check() error {
	switch {
	case v.kind == Number && (math.IsNaN(v.number) || math.IsInf(v.number, 0)):
		return invalid("the value is not a number that JSON can write", "leave NaN and infinite values out")
	case len(v.text) > MaxValueBytes:
		return &tarn.Error{Code: tarn.CodeTooLarge, Detail: fmt.Sprintf("the value has %d bytes, over the limit of %d", len(v.text), MaxValueBytes), Hint: "keep it in the lake and a reference to it here"}
	case v.kind == String && (!utf8.ValidString(v.text) || strings.IndexByte(v.text, 0) >= 0):
		return invalid("the value is not UTF-8 text without NUL", "send it as base64")
	case v.kind == JSON && (!json.Valid([]byte(v.text)) || !utf8.ValidString(v.text)):
		return invalid("the value is not JSON", "")
	case v.kind > JSON:
		return invalid("the value has an unknown kind", "")
	}
	return nil
}

// CheckComponent returns CodeInvalid for an id that no component can have.
func CheckComponent(id string) error {
	if printable(id, MaxComponentBytes) {
		return nil
	}
	return invalid("the component "+strconv.Quote(clip(id))+" is not an id", "use 1 to 1024 bytes of printable text; percent-encode it in a path")
}

// CheckMetric returns CodeInvalid for a name that no metric can have.
func CheckMetric(name string) error {
	if printable(name, MaxMetricBytes) {
		return nil
	}
	return invalid("the metric "+strconv.Quote(clip(name))+" is not a name", "use 1 to 255 bytes of printable text; percent-encode it in a path")
}

func printable(s string, most int) bool {
	return s != "" && len(s) <= most && utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

func invalid(detail, hint string) error {
	return &tarn.Error{Code: tarn.CodeInvalid, Detail: detail, Hint: hint}
}
