package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/tarn-data/tarn/bench/load"
)

// The streams that feed the twin: wide records with all metrics of a component, and points of one metric.
const (
	wide   = "wide"
	points = "points"
)

// twinMetrics is how many metrics the twin has at the default size.
const twinMetrics = 1_000_000

// twinFiles is the project that the twin is measured in.
func twinFiles() map[string]string {
	var names []string
	for i := range componentMetrics {
		names = append(names, string(appendMetric(nil, i)))
	}
	const update = "SELECT wagon AS component, 'wagon' AS type, metric, value, 'km/h' AS unit, ts AS at FROM records"
	return map[string]string{
		"tarn.yaml":             bareProject,
		"twins/fleet.yaml":      "twin: fleet\nhistory: " + historyTable + "\n",
		"pipelines/wide.yaml":   "pipeline: wide\nstream: {shards: 1, partition_key: wagon}\ndeliver: []\n",
		"pipelines/points.yaml": "pipeline: points\nstream: {shards: 1, partition_key: wagon}\ndeliver: []\n",
		"pipelines/past.yaml":   "pipeline: past\ndeliver: [{table: " + historyTable + ", partition_by: [day(at)]}]\n",
		"extracts/wide.yaml":    "extract: wide\nfrom: wide\nsql: " + update + " UNPIVOT (value FOR metric IN (" + strings.Join(names, ", ") + "))\nto: {twin: fleet}\n",
		"extracts/points.yaml":  "extract: points\nfrom: points\nsql: " + update + "\nto: {twin: fleet}\n",
	}
}

// twinFeed makes the records of both streams. Times grow from one record to the next.
type twinFeed struct{ components int64 }

// component chooses the component of record i: the first records have one each, then they are spread.
func (f twinFeed) component(i int64) int {
	if i < f.components {
		return int(i)
	}
	return int(uint64(i) * 0x9E3779B97F4A7C15 >> 20 % uint64(f.components))
}

func (f twinFeed) begin(dst []byte, i int64) []byte {
	dst = append(dst, `{"wagon":"`...)
	dst = appendComponent(dst, f.component(i))
	dst = append(dst, `","ts":"`...)
	return firstEvent.Add(time.Duration(i)*time.Millisecond).AppendFormat(dst, "2006-01-02T15:04:05.000Z")
}

func (f twinFeed) appendWide(dst []byte, from int64, n int) []byte {
	for i := from; i < from+int64(n); i++ {
		dst = append(f.begin(dst, i), '"')
		for m := range int64(componentMetrics) {
			dst = append(append(appendMetric(append(dst, `,"`...), int(m)), `":`...), strconv.Itoa(int((i*7+m*13)%1000))...)
			dst = append(dst, ".25"...)
		}
		dst = append(dst, "}\n"...)
	}
	return dst
}

func (f twinFeed) appendPoints(dst []byte, from int64, n int) []byte {
	for i := from; i < from+int64(n); i++ {
		dst = append(f.begin(dst, i), `","metric":"`...)
		dst = appendMetric(dst, int(uint64(i)*0xBF58476D1CE4E5B9>>40%componentMetrics))
		dst = append(strconv.AppendInt(append(dst, `","value":`...), i%1000, 10), ".5}\n"...)
	}
	return dst
}

// twinRun is a server whose twin is measured.
type twinRun struct {
	*session
	srv     *server
	feed    twinFeed
	metrics int
	bare    *bareServer      // from reads on
	posted  map[string]int64 // records, by stream
}

// twins measures a twin of a million metrics that is fed through streams and extracts.
func twins(ctx context.Context, s *session) ([]Row, error) {
	metrics := s.scaled(twinMetrics, 10_000)
	srv, err := s.startWith(ctx, twinFiles())
	if err != nil {
		return nil, err
	}
	defer srv.remove()
	t := &twinRun{session: s, srv: srv, feed: twinFeed{metrics / componentMetrics}, metrics: int(metrics), posted: map[string]int64{}}
	defer func() {
		if t.bare != nil {
			t.bare.stop()
		}
	}()
	var rows []Row
	for _, part := range []struct {
		what string
		run  func(context.Context) ([]Row, error)
	}{{"filling", t.fill}, {"point reads", t.reads}, {"updates", t.updates}, {"an event until REST has it", t.toREST}, {"updates and reads", t.both}, {"history", t.history}} {
		s.Progress("twin: " + part.what)
		more, err := part.run(ctx)
		if err != nil {
			return rows, fmt.Errorf("%s: %w\n%s", part.what, err, srv.Log())
		}
		rows = append(rows, more...)
	}
	return rows, nil
}

// send posts the next n records of a stream; rate is in records a second, 0 for as fast as it goes.
func (t *twinRun) send(ctx context.Context, stream string, n, rate int64, batch int) error {
	o := load.Options{URL: t.srv.Base, Stream: stream, Clients: 2, Batch: batch, From: t.posted[stream], Records: n, Rate: rate, Append: t.feed.appendWide}
	if stream == points {
		o.Append = t.feed.appendPoints
	}
	t.posted[stream] += n
	_, err := load.Run(ctx, o)
	return err
}

// feedAll posts records and returns how long it took until the twin had all of their values.
func (t *twinRun) feedAll(ctx context.Context, stream string, n, rate int64, batch int) (time.Duration, error) {
	start := time.Now()
	if err := t.send(ctx, stream, n, rate, batch); err != nil {
		return 0, err
	}
	err := t.srv.extracted(ctx, stream, t.posted[stream])
	return time.Since(start), err
}

func (t *twinRun) fill(ctx context.Context) ([]Row, error) {
	took, err := t.feedAll(ctx, wide, t.feed.components, 0, batch)
	if err != nil {
		return nil, err
	}
	u, err := t.srv.Usage()
	if err != nil {
		return nil, err
	}
	n := number(float64(t.metrics))
	return []Row{
		{Name: "twin, " + n + " new metrics", Value: perSecond(int64(t.metrics), took), Unit: "updates/s", Note: fmt.Sprintf("records of %d metrics posted, extracted with UNPIVOT and committed; from the first request until the twin has all", componentMetrics)},
		Row{Name: "twin, peak memory with " + n + " metrics", Value: float64(u.PeakBytes) / 1e6, Unit: "MB", Note: "resident, of the whole server"}.atMost(1000),
	}, nil
}

// The clients of point reads.
const readers = 16

func (t *twinRun) readOptions(base string, d time.Duration) load.ReadOptions {
	return load.ReadOptions{URL: base, Clients: readers, For: d, Path: func(dst []byte, _, _ int) []byte { return appendMetricPath(dst, rand.IntN(t.metrics)) }}
}

// reads compares point reads with a bare handler on a Go map, in turn.
func (t *twinRun) reads(ctx context.Context) ([]Row, error) {
	warm, err := load.Read(ctx, t.readOptions(t.srv.Base, time.Second))
	if err != nil {
		return nil, err
	}
	if t.bare, err = t.startBare(ctx, t.metrics, int(warm.Bytes)/len(warm.Latencies)); err != nil {
		return nil, err
	}
	if _, err := load.Read(ctx, t.readOptions(t.bare.base, time.Second)); err != nil {
		return nil, err
	}
	var floor, ours, p99 []float64
	for range t.Runs {
		f, err := load.Read(ctx, t.readOptions(t.bare.base, 2*time.Second))
		if err != nil {
			return nil, err
		}
		r, err := load.Read(ctx, t.readOptions(t.srv.Base, 2*time.Second))
		if err != nil {
			return nil, err
		}
		floor = append(floor, perSecond(int64(len(f.Latencies)), f.Elapsed))
		ours = append(ours, perSecond(int64(len(r.Latencies)), r.Elapsed))
		p99 = append(p99, millis(quantile(r.Latencies, 0.99)))
	}
	return []Row{
		{Name: "floor: bare net/http on a Go map", Value: median(floor), Unit: "reads/s", Samples: floor, Note: fmt.Sprintf("a process of its own, as many paths, bodies of the same size, the same %d connections", readers)},
		Row{Name: "twin, point reads", Value: median(ours), Unit: "reads/s", Samples: ours, Note: "random metrics, one GET each; client and server share the machine"}.to("bare handler", median(floor)).ratioAtLeast(0.6),
		{Name: "twin, point reads, p99", Value: median(p99), Unit: "ms", Samples: p99},
	}, nil
}

// updates feeds the twin as fast as it goes, with both kinds of records.
func (t *twinRun) updates(ctx context.Context) ([]Row, error) {
	var rows []Row
	for _, k := range []struct {
		stream, name  string
		records, each int64
	}{
		{wide, fmt.Sprintf("twin, updates by records of %d metrics", componentMetrics), t.scaled(15_000, 1_000), componentMetrics},
		{points, "twin, updates by records of one metric", t.scaled(200_000, 10_000), 1},
	} {
		took, err := t.feedAll(ctx, k.stream, k.records, 0, batch)
		if err != nil {
			return rows, err
		}
		rows = append(rows, Row{Name: k.name, Value: perSecond(k.records*k.each, took), Unit: "updates/s", Note: "random components, as fast as it goes, until the twin has all"})
	}
	return rows, nil
}

// toREST measures from the first byte of a request until GET shows what the event says.
func (t *twinRun) toREST(ctx context.Context) ([]Row, error) {
	took, err := t.probe(ctx, int(t.scaled(200, 50)), 10*time.Millisecond)
	if err != nil {
		return nil, err
	}
	return []Row{
		{Name: "event to REST, p50", Value: millis(quantile(took, 0.5)), Unit: "ms", Note: "a request with one event is sent, until GET answers with its value; fsync, extract and twin between"},
		Row{Name: "event to REST, p99", Value: millis(quantile(took, 0.99)), Unit: "ms"}.atMost(500),
	}, nil
}

// probe posts n events of a component of their own, one after the other, and waits for each.
func (t *twinRun) probe(ctx context.Context, n int, pause time.Duration) ([]time.Duration, error) {
	conn, err := load.Dial(ctx, t.srv.Base, "/v1/streams/"+points+"/records", "application/x-ndjson")
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	var all []time.Duration
	for i := range n {
		sent := time.Now()
		value := strconv.FormatInt(sent.UnixMicro(), 10)
		if err := conn.MustPost(fmt.Appendf(nil, `{"wagon":"probe","metric":"sent","value":%s,"ts":%q}`, value, sent.UTC().Format(time.RFC3339Nano))); err != nil {
			return nil, err
		}
		t.posted[points]++
		for {
			b, err := t.srv.Do(ctx, "GET", "/v1/twins/fleet/components/probe/metrics/sent", nil, nil)
			if err == nil && strings.Contains(string(b), `"value":`+value+",") {
				break
			}
			if time.Since(sent) > 30*time.Second || ctx.Err() != nil {
				return nil, fmt.Errorf("event %d is not there after %s: %s %w", i, time.Since(sent), b, err)
			}
			time.Sleep(2 * time.Millisecond)
		}
		all = append(all, time.Since(sent))
		time.Sleep(pause)
	}
	return all, nil
}

// The load under which reads are measured: 22,000 updates and about 2,000 reads a second.
const (
	wideRate   = 1_100
	slowReader = 4 * time.Millisecond
)

// both reads from the twin and from the bare handler, in turn, while updates come at a steady rate.
func (t *twinRun) both(ctx context.Context) ([]Row, error) {
	seconds := t.scaled(10, 4)
	feeding := make(chan error, 1)
	var took time.Duration
	go func() {
		var err error
		took, err = t.feedAll(ctx, wide, wideRate*seconds, wideRate, 22)
		feeding <- err
	}()
	ours, bare, err := t.alternate(ctx, int(seconds))
	if fed := <-feeding; err == nil {
		err = fed
	}
	if err != nil {
		return nil, err
	}
	rate := perSecond(int64(len(ours.Latencies)), ours.Elapsed)
	p99 := millis(quantile(bare.Latencies, 0.99))
	return []Row{
		Row{Name: "twin, updates sustained", Value: perSecond(wideRate*seconds*componentMetrics, took), Unit: "updates/s",
			Note: fmt.Sprintf("records of %d metrics, %s updates/s offered for %d s, until the twin has all, beside %s reads/s", componentMetrics, number(wideRate*componentMetrics), seconds, number(rate))}.atLeast(20_000),
		{Name: "floor: bare handler beside updates, p99", Value: p99, Unit: "ms", Note: "asked in turn with the twin, while the server is busy with the updates"},
		Row{Name: "twin, point reads beside updates, p99", Value: millis(quantile(ours.Latencies, 0.99)), Unit: "ms"}.to("bare handler", p99).atMost(5),
		{Name: "twin, point reads beside updates, p50", Value: millis(quantile(ours.Latencies, 0.5)), Unit: "ms"},
	}, nil
}

// alternate reads slowly from the twin and from the bare handler, a second each.
func (t *twinRun) alternate(ctx context.Context, seconds int) (ours, bare load.ReadResult, err error) {
	for i := range seconds {
		to, base := &ours, t.srv.Base
		if i%2 == 1 {
			to, base = &bare, t.bare.base
		}
		o := t.readOptions(base, time.Second)
		o.Clients, o.Pause = 8, slowReader
		r, err := load.Read(ctx, o)
		if err != nil {
			return ours, bare, err
		}
		to.Elapsed += r.Elapsed
		to.Latencies = append(to.Latencies, r.Latencies...)
	}
	return ours, bare, nil
}
