package engine

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	iofs "io/fs"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/lake"
	"github.com/tarn-data/tarn/lake/fs"
)

// marks are what is known of shards outside the streams: the end each was last seen at, and what it
// has lost. A stream whose storage was damaged may come back shorter than it was, and nothing in it
// tells; its mark does (I3). Marks are written every second, so records acknowledged in the last second
// before a crash may lie beyond them. Safe for concurrent use.
type marks struct {
	bucket *fs.Bucket // of the folder meta

	mu    sync.Mutex
	known map[shardID]mark
	noted moment // by which retention measured ages last; zero when it was not noted
	saved []byte // the document on the disk

	saving sync.Mutex // one save at a time
}

type shardID struct {
	stream string
	shard  int
}

// mark is what is known of one shard.
type mark struct {
	next uint64 // the end; never lowered
	lost []loss // in the order in which they were found
}

// loss is a run of offsets that a log came back without.
type loss struct {
	First   uint64    `json:"first"`
	Next    uint64    `json:"next"` // the offset after the last
	FoundAt time.Time `json:"found_at"`

	// Tables says how far the tables were: what lies before is not lost to them.
	Tables map[string]uint64 `json:"tables,omitempty"`
}

// marksDoc is the file. Its sum matters: a flipped digit would make a shard jump.
type marksDoc struct {
	Version int             `json:"version"`
	Time    time.Time       `json:"time,omitzero"`
	Boot    string          `json:"boot,omitempty"` // of the machine
	Up      int64           `json:"up,omitempty"`   // seconds from then until Time
	Sum     uint32          `json:"sum"`            // CRC-32C of shards as they stand
	Shards  json.RawMessage `json:"shards"`         // []shardMark
}

type shardMark struct {
	Stream string `json:"stream"`
	Shard  int    `json:"shard"`
	Next   uint64 `json:"next"`
	Lost   []loss `json:"lost,omitempty"`
}

const (
	marksKey     = "marks.json"
	marksDamaged = "marks.damaged.json" // a marks.json that could not be read, until somebody removes it
	marksVersion = 1
)

// openMarks reads the marks of earlier runs. A file that makes no sense is put aside and marks begin
// anew, since what tables have committed still keeps offsets from being given twice.
func openMarks(ctx context.Context, dir string, log *slog.Logger) (*marks, error) {
	b, err := fs.Open(dir)
	if err != nil {
		return nil, err
	}
	m := &marks{bucket: b, known: map[shardID]mark{}}
	doc, err := lake.ReadAll(ctx, b, marksKey)
	if errors.Is(err, iofs.ErrNotExist) {
		return m, nil
	}
	if err == nil {
		if m.known, m.noted, err = decodeMarks(doc); err == nil {
			m.saved = doc
			return m.written(ctx) // an earlier version becomes today's
		}
		log.Error("the file that says how far streams were is damaged; it is put aside and begun anew", "file", b.URL(marksKey), "kept_as", b.URL(marksDamaged), "error", err)
		m.known, m.noted = map[shardID]mark{}, moment{}
		if err = b.Put(ctx, marksDamaged, bytes.NewReader(doc)); err == nil {
			return m.written(ctx)
		}
	}
	err = &tarn.Error{Code: tarn.CodeInternal, Detail: "the file " + b.URL(marksKey) + " cannot be read", Err: err,
		Hint: "restore it from a copy, or remove it: then losses of streams that were found before are not known any more"}
	return nil, errors.Join(err, b.Close())
}

// written returns m when it is saved, and closes it when that fails.
func (m *marks) written(ctx context.Context) (*marks, error) {
	if err := m.save(ctx); err != nil {
		return nil, errors.Join(err, m.bucket.Close())
	}
	return m, nil
}

// decodeMarks reads the file. The time is not in the sum: one in the past only keeps records longer, and
// one in the future is not believed; the boot's clock can only shorten for how long.
func decodeMarks(text []byte) (map[shardID]mark, moment, error) {
	if known, ok := decodeMarks0(text); ok {
		return known, moment{}, nil
	}
	var doc marksDoc
	if err := json.Unmarshal(text, &doc); err != nil {
		return nil, moment{}, err
	}
	if doc.Version != marksVersion {
		return nil, moment{}, fmt.Errorf("version %d is not known", doc.Version)
	}
	if doc.Sum != sumOf(doc.Shards) {
		return nil, moment{}, errors.New("the sum does not fit")
	}
	var shards []shardMark
	if err := json.Unmarshal(doc.Shards, &shards); err != nil {
		return nil, moment{}, err
	}
	known, err := checkMarks(shards)
	return known, moment{doc.Time, uptime{doc.Boot, time.Duration(doc.Up) * time.Second}}, err
}

// decodeMarks0 reads the file as it was before it had a version: {"STREAM/SHARD": next}.
func decodeMarks0(text []byte) (map[shardID]mark, bool) {
	var ends map[string]uint64
	if err := json.Unmarshal(text, &ends); err != nil || len(ends) == 0 {
		return nil, false
	}
	known := map[shardID]mark{}
	for name, next := range ends {
		stream, number, _ := strings.Cut(name, "/") // names of streams have no slash
		shard, err := strconv.ParseUint(number, 10, 31)
		if err != nil || stream == "" {
			return nil, false
		}
		known[shardID{stream, int(shard)}] = mark{next: next}
	}
	return known, true
}

// checkMarks refuses marks that make no sense.
func checkMarks(shards []shardMark) (map[shardID]mark, error) {
	known := map[shardID]mark{}
	for _, s := range shards {
		id := shardID{s.Stream, s.Shard}
		if _, twice := known[id]; twice || s.Stream == "" || s.Shard < 0 {
			return nil, fmt.Errorf("stream %q shard %d is there twice or has no name", s.Stream, s.Shard)
		}
		for _, l := range s.Lost {
			if l.First >= l.Next || l.Next > s.Next {
				return nil, fmt.Errorf("stream %q shard %d lost %d to %d of %d", s.Stream, s.Shard, l.First, l.Next, s.Next)
			}
		}
		known[id] = mark{next: s.Next, lost: s.Lost}
	}
	return known, nil
}

// encodeMarks is the reverse of decodeMarks; the same marks give the same bytes.
func encodeMarks(known map[shardID]mark, at moment) ([]byte, error) {
	shards := []shardMark{}
	for id, k := range known {
		shards = append(shards, shardMark{Stream: id.stream, Shard: id.shard, Next: k.next, Lost: k.lost})
	}
	slices.SortFunc(shards, func(a, b shardMark) int {
		return cmp.Or(cmp.Compare(a.Stream, b.Stream), cmp.Compare(a.Shard, b.Shard))
	})
	text, err := json.Marshal(shards)
	if err != nil {
		return nil, err
	}
	return json.Marshal(marksDoc{Version: marksVersion, Time: at.time, Boot: at.uptime.boot, Up: int64(at.uptime.up / time.Second), Sum: sumOf(text), Shards: text})
}

func sumOf(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

// of returns what is known of a shard.
func (m *marks) of(id shardID) mark {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.known[id]
}

// floors returns the ends of the shards of a stream, by shard.
func (m *marks) floors(stream string) []uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []uint64
	for id, k := range m.known {
		if id.stream == stream {
			out = floor(out, id.shard, k.next)
		}
	}
	return out
}

// floor raises the floor of a shard to next.
func floor(floors []uint64, shard int, next uint64) []uint64 {
	for len(floors) <= shard {
		floors = append(floors, 0)
	}
	floors[shard] = max(floors[shard], next)
	return floors
}

// see notes the end of a shard.
func (m *marks) see(id shardID, next uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	k := m.known[id]
	k.next = max(k.next, next)
	m.known[id] = k
}

// seeTime notes the time by which ages are measured, to the minute, so that the file of an idle lake is
// not written every second. at is the same moment.
func (m *marks) seeTime(now time.Time, at uptime) {
	m.mu.Lock()
	defer m.mu.Unlock()
	minute := now.UTC().Truncate(time.Minute)
	if minute.Equal(m.noted.time) && at.boot == m.noted.uptime.boot {
		return
	}
	at.up -= now.Sub(minute)
	m.noted = moment{minute, at}
}

// neverHeld reports whether a shard is known to have got no record ever.
func (m *marks) neverHeld(id shardID) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	k, known := m.known[id]
	return known && k.next == 0
}

// lose notes a loss. One that is known already, because the process died before the log went on behind
// it, is not noted twice.
func (m *marks) lose(id shardID, l loss) {
	m.mu.Lock()
	defer m.mu.Unlock()
	k := m.known[id]
	k.next = max(k.next, l.Next)
	if !slices.ContainsFunc(k.lost, func(old loss) bool { return old.First == l.First && old.Next == l.Next }) {
		k.lost = append(slices.Clip(k.lost), l)
	}
	m.known[id] = k
}

// save makes the marks durable when they have changed.
func (m *marks) save(ctx context.Context) error {
	m.saving.Lock()
	defer m.saving.Unlock()
	m.mu.Lock()
	known, at := maps.Clone(m.known), m.noted
	m.mu.Unlock()
	doc, err := encodeMarks(known, at)
	if err != nil || bytes.Equal(doc, m.saved) {
		return err
	}
	if err := m.bucket.Put(ctx, marksKey, bytes.NewReader(doc)); err != nil {
		return err
	}
	m.saved = doc
	return nil
}

// damaged reports whether marks of an earlier run could not be read.
func (m *marks) damaged(ctx context.Context) bool {
	_, err := m.bucket.Stat(ctx, marksDamaged)
	return err == nil
}
