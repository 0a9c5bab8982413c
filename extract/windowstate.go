package extract

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"slices"

	"github.com/google/uuid"

	"github.com/tarn-data/tarn/duck"
)

// windowDocument holds the state of windows.
const windowDocument = "windows"

const stateVersion = 1

// Times that stand for none yet, and for never; in microseconds since 1970.
const (
	noTime   int64 = math.MinInt64 / 4
	lastTime int64 = math.MaxInt64 / 4
)

// windowState is what commits together with positions. Times are microseconds since 1970.
type windowState struct {
	Version  int
	Closed   int64         // windows that end by then have been delivered
	Newest   map[int]int64 // the time of each shard
	Segments []segment     // the records of open windows
	Revision int64         // the greatest that was delivered
	// Forgotten is up to where the ends of windows lie of which records may be gone: those are not delivered
	// again, though a longer update_for would allow it.
	Forgotten int64
}

// segment is a Parquet file of records.
type segment struct {
	Key      string // in the state bucket
	Rows     int64
	Bytes    int64
	Min, Max int64 // times of its records
	Level    int   // how often they have been merged
}

func parseState(doc []byte) (windowState, error) {
	s := windowState{Version: stateVersion, Closed: noTime, Forgotten: noTime, Newest: map[int]int64{}}
	if doc == nil {
		return s, nil
	}
	if err := json.Unmarshal(doc, &s); err != nil {
		return s, err
	}
	if s.Version != stateVersion {
		return s, fmt.Errorf("their state has the version %d", s.Version)
	}
	return s, nil
}

func (s *windowState) clone() windowState {
	c := *s
	c.Newest, c.Segments = maps.Clone(s.Newest), slices.Clone(s.Segments)
	return c
}

func (s *windowState) names(key string) bool {
	return slices.ContainsFunc(s.Segments, func(g segment) bool { return g.Key == key })
}

// keep makes a local Parquet file of records a segment.
func (r *round) keep(ctx context.Context, file string, seg segment) error {
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	seg.Bytes = info.Size()
	seg.Key = r.StreamSink.o.Delivery + "/window-" + uuid.NewString() + ".parquet"
	if err := r.StreamSink.o.State.PutFile(ctx, seg.Key, file); err != nil {
		return err
	}
	r.state.Segments = append(r.state.Segments, seg)
	return nil
}

// copy writes rows into a new local file.
func (r *round) copy(ctx context.Context, sql string) (file string, err error) {
	file = r.file("segment")
	_, err = r.db.Copy(ctx, sql, duck.CopyOptions{Path: file, Compression: "snappy"})
	return file, err
}

// segmentFan is how many segments of one level are merged into one of the next.
const segmentFan = 16

// deadRows is how many records of sessions that have ended may be kept.
const deadRows = 10_000

// tidy forgets the records of windows that no record can come to any more, and keeps segments few.
func (r *round) tidy(ctx context.Context) error {
	w := r.o.Window
	if w.Gap > 0 {
		return r.tidySessions(ctx)
	}
	size, every := w.Size.Microseconds(), w.Every.Microseconds()
	final := r.final()
	r.state.Forgotten = final
	r.state.Segments = slices.DeleteFunc(r.state.Segments, func(g segment) bool { return floorTo(g.Max, every)+size <= final })
	return r.merge(ctx, fmt.Sprintf("%s + %d > %d", floorSQL("__us", every), size, final))
}

// tidySessions rewrites the records of open sessions when most are of others. Which those are is known
// only from all records together.
func (r *round) tidySessions(ctx context.Context) error {
	total := int64(0)
	for _, g := range r.state.Segments {
		total += g.Rows
	}
	if r.live < 0 || total <= 2*r.live+deadRows {
		return r.merge(ctx, "true")
	}
	all := r.state.Segments
	sql := fmt.Sprintf("SELECT * EXCLUDE (__first, __session, __start, __end) FROM (%s) WHERE __end > %d", r.sessions(), r.state.Closed)
	r.state.Segments = nil
	if r.live == 0 {
		return nil
	}
	return r.rewrite(ctx, sql, all)
}

// merge makes one segment of many, of the records for which a condition is true.
func (r *round) merge(ctx context.Context, live string) error {
	for level := 0; ; level++ {
		var run, rest []segment
		higher := false
		for _, g := range r.state.Segments {
			higher = higher || g.Level > level
			if g.Level == level {
				run = append(run, g)
			} else {
				rest = append(rest, g)
			}
		}
		if len(run) >= segmentFan {
			r.state.Segments = rest
			if err := r.rewrite(ctx, "SELECT * FROM "+r.rows(run)+" WHERE "+live, run); err != nil {
				return err
			}
		} else if !higher {
			return nil
		}
	}
}

// rewrite makes a segment of the next level of the rows of a SELECT over segments.
func (r *round) rewrite(ctx context.Context, sql string, from []segment) error {
	level := 0
	for _, g := range from {
		level = max(level, g.Level)
	}
	v, err := r.db.Values(ctx, "SELECT count(*), min(__us), max(__us) FROM ("+sql+"\n)")
	if err != nil {
		return err
	}
	n, _ := v[0][0].(int64)
	if n == 0 {
		return nil
	}
	file, err := r.copy(ctx, sql)
	if err != nil {
		return err
	}
	return r.keep(ctx, file, segment{Rows: n, Min: v[0][1].(int64), Max: v[0][2].(int64), Level: level + 1})
}

// drop deletes the segments of a state that the state committed since does not name (I4).
func (s *WindowSink) drop(ctx context.Context, old windowState) error {
	for _, g := range old.Segments {
		if s.state.names(g.Key) {
			continue
		}
		if err := s.StreamSink.o.State.Delete(ctx, g.Key); err != nil {
			return err
		}
	}
	return nil
}

// sweepSegments deletes the segments that the committed state does not name (I4): their commit has not
// come to be, or has come to be and they were not deleted any more.
func (s *WindowSink) sweepSegments(ctx context.Context) error {
	for info, err := range s.StreamSink.o.State.List(ctx, s.StreamSink.o.Delivery+"/window-") {
		if err != nil {
			return err
		}
		if s.state.names(info.Key) {
			continue
		}
		if err := s.StreamSink.o.State.Delete(ctx, info.Key); err != nil {
			return err
		}
	}
	return nil
}
