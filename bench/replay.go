package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// replays runs the history of a table through the pipeline again, into a new table and in place, next to
// the floor.
func replays(ctx context.Context, s *session) ([]Row, error) {
	var floor, into, place []float64
	for run := range s.Runs {
		s.Progress(fmt.Sprintf("replay: run %d of %d", run+1, s.Runs))
		d, err := copyFloor(ctx, s.dir, s.events)
		if err != nil {
			return nil, err
		}
		floor = append(floor, perSecond(s.Events, d))
		a, b, err := s.replayOnce(ctx)
		if err != nil {
			return nil, err
		}
		into, place = append(into, perSecond(s.Events, a)), append(place, perSecond(s.Events, b))
	}
	base := median(floor)
	row := func(name string, values []float64, note string) Row {
		return Row{Name: name, Value: median(values), Unit: "events/s", Samples: values, Note: note}
	}
	return []Row{
		row("floor: bare DuckDB COPY", floor, "NDJSON to hour-partitioned Snappy Parquet, schema given, the whole machine, no fsync"),
		row("replay into a new table", into, "from the request to the last commit, the records read from the stream").to("floor", base).ratioAtLeast(0.5),
		row("replay in place", place, "the same, and all partitions of the old table replaced in one commit").to("floor", base).ratioAtLeast(0.5),
	}, nil
}

// replayOnce fills a lake and replays it twice.
func (s *session) replayOnce(ctx context.Context) (into, place time.Duration, err error) {
	srv, err := s.start(ctx, "")
	if err != nil {
		return 0, 0, err
	}
	defer func() { srv.remove() }()
	if _, err := s.post(ctx, srv, s.Events); err != nil {
		return 0, 0, err
	}
	if _, err := srv.settle(ctx, s.Events); err != nil {
		return 0, 0, err
	}
	if into, err = srv.replay(ctx, `{"from":"earliest","into":"`+table+`_again"}`, s.Events); err != nil {
		return 0, 0, err
	}
	place, err = srv.replay(ctx, `{"from":"earliest"}`, s.Events)
	return into, place, err
}

// replay runs a replay and returns how long it took.
func (srv *server) replay(ctx context.Context, request string, rows int64) (time.Duration, error) {
	var doc struct {
		ID, State, Error string
		Rows             int64
		StartedAt        time.Time `json:"started_at"`
		FinishedAt       time.Time `json:"finished_at"`
	}
	call := func(method, path, body string) error {
		b, err := srv.Do(ctx, method, path, map[string]string{"Content-Type": "application/json"}, []byte(body))
		if err != nil {
			return fmt.Errorf("replay: %w", err)
		}
		return json.Unmarshal(b, &doc)
	}
	if err := call(http.MethodPost, "/v1/pipelines/"+pipeline+"/replays", request); err != nil {
		return 0, err
	}
	for doc.State == "running" {
		time.Sleep(20 * time.Millisecond)
		if err := call(http.MethodGet, "/v1/replays/"+doc.ID, ""); err != nil {
			return 0, err
		}
	}
	if doc.State != "done" || doc.Rows != rows {
		return 0, fmt.Errorf("the replay is %s with %d rows of %d: %s", doc.State, doc.Rows, rows, doc.Error)
	}
	return doc.FinishedAt.Sub(doc.StartedAt), nil
}
