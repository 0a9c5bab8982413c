package twin

import (
	"encoding/binary"
	"errors"
	"math"
	"strings"
	"time"
	"unique"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/metadb"
)

// Metric is the newest value of one metric, with where it comes from.
type Metric struct {
	Component string
	Type      string // of the component, as the update said
	Metric    string
	Value     Value
	Unit      string
	At        time.Time
	Unknown   bool // the schema does not name the metric; only under the policy Tag
	Pipeline  string
	Source    string
	Position  Position

	hash uint64
}

// Key returns what the value is of.
func (m *Metric) Key() Key { return Key{m.Component, m.Metric} }

// entry is a metric in memory. Labels and names are shared by all that have the same, because there
// may be a million.
type entry struct {
	metric  unique.Handle[string]
	labels  unique.Handle[labels]
	text    string
	number  float64
	at      int64
	offset  uint64
	hash    uint64
	shard   int32
	kind    Kind
	unknown bool
}

// labels are what many metrics have in common.
type labels struct{ kind, unit, pipeline, source, stream string }

// newEntry returns the entry of a checked update.
func newEntry(u *Update, unknown bool) entry {
	o := u.order()
	return entry{metric: unique.Make(u.Metric), labels: unique.Make(labels{u.Type, u.Unit, u.Pipeline, u.Source, u.Position.Stream}),
		text: u.Value.text, number: u.Value.number, at: o.at, offset: o.offset, hash: o.hash, shard: o.shard, kind: u.Value.kind, unknown: unknown}
}

func (e *entry) order() order {
	return order{e.at, e.labels.Value().stream, e.shard, e.offset, e.hash}
}

// newer reports whether e wins over f.
func (e *entry) newer(f *entry) bool {
	if e.at != f.at {
		return e.at > f.at
	}
	return e.order().compare(f.order()) > 0
}

// visible reports whether a reader sees the entry: it was not removed, and its time is after the
// horizon (see Twin.horizon).
func (e *entry) visible(horizon int64) bool { return e.kind != Removed && e.at > horizon }

// show returns what readers get.
func (e *entry) show(component string) Metric {
	l := e.labels.Value()
	return Metric{Component: component, Type: l.kind, Metric: e.metric.Value(), Value: Value{e.kind, e.number, e.text}, Unit: l.unit, At: metadb.Time(e.at), Unknown: e.unknown,
		Pipeline: l.pipeline, Source: l.source, Position: Position{l.stream, tarn.Position{Shard: int(e.shard), Offset: e.offset}}, hash: e.hash}
}

// packVersion is the first byte of the stored form.
const packVersion = 1

// pack appends the stored form of an entry, without its time and metric: the format version, kind,
// flags, shard, offset, hash, the number of numbers and booleans, then the texts, each behind its length.
func (e *entry) pack(b []byte) []byte {
	flags := byte(0)
	if e.unknown {
		flags = 1
	}
	b = append(b, packVersion, byte(e.kind), flags)
	b = binary.AppendUvarint(b, uint64(e.shard))
	b = binary.AppendUvarint(b, e.offset)
	b = binary.BigEndian.AppendUint64(b, e.hash)
	if e.kind == Number || e.kind == Boolean {
		b = binary.BigEndian.AppendUint64(b, math.Float64bits(e.number))
	}
	l := e.labels.Value()
	for _, s := range [...]string{l.kind, l.unit, l.pipeline, l.source, l.stream, e.text} {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	return b
}

var errDamaged = errors.New("a stored value of a twin is damaged")

// unpack is the inverse of pack.
func unpack(metric string, at int64, b []byte) (entry, error) {
	e := entry{metric: unique.Make(metric), at: at}
	if len(b) < 3 || b[0] != packVersion || Kind(b[1]) > JSON {
		return e, errDamaged
	}
	e.kind, e.unknown = Kind(b[1]), b[2]&1 != 0
	r := reader{rest: b[3:]}
	shard := r.uvarint()
	e.offset, e.hash = r.uvarint(), r.uint64()
	if e.kind == Number || e.kind == Boolean {
		e.number = math.Float64frombits(r.uint64())
	}
	var l labels
	for _, s := range [...]*string{&l.kind, &l.unit, &l.pipeline, &l.source, &l.stream, &e.text} {
		*s = r.text()
	}
	if r.failed || len(r.rest) > 0 || shard > math.MaxInt32 {
		return e, errDamaged
	}
	e.shard, e.labels = int32(shard), unique.Make(l)
	return e, nil
}

// reader takes a stored form apart; failed says that it ended early.
type reader struct {
	rest   []byte
	failed bool
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.rest)
	if n <= 0 {
		r.failed, r.rest = true, nil
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func (r *reader) uint64() uint64 {
	if len(r.rest) < 8 {
		r.failed, r.rest = true, nil
		return 0
	}
	v := binary.BigEndian.Uint64(r.rest)
	r.rest = r.rest[8:]
	return v
}

func (r *reader) text() string {
	n := r.uvarint()
	if uint64(len(r.rest)) < n {
		r.failed, r.rest = true, nil
		return ""
	}
	s := string(r.rest[:n])
	r.rest = r.rest[n:]
	return s
}

// storedName is the name of a row: component and metric hold no control characters.
func storedName(k Key) []byte { return []byte(k.Component + "\x00" + k.Metric) }

func parseStoredName(b []byte) (Key, error) {
	c, m, ok := strings.Cut(string(b), "\x00")
	if !ok || c == "" || m == "" {
		return Key{}, errDamaged
	}
	return Key{c, m}, nil
}
