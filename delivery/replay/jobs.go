package replay

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/metadb"
)

// State is where a replay stands.
type State string

// The states. Running and Canceling are taken up again at the next start.
const (
	Running   State = "running"
	Done      State = "done"
	Failed    State = "failed"
	Canceling State = "canceling"
	Canceled  State = "canceled"
)

// Job is a replay as it is kept in the metadata database.
type Job struct {
	ID         string    `json:"id"`
	Pipeline   string    `json:"pipeline"`
	Table      string    `json:"table"`          // of the delivery whose code runs
	Into       string    `json:"into,omitempty"` // the new table; empty replaces partitions of Table
	Source     string    `json:"source"`         // stream or raw
	From       string    `json:"from"`           // as it was asked for
	To         string    `json:"to,omitempty"`
	Ranges     []Span    `json:"ranges"` // by shard
	Code       string    `json:"code"`   // what runs: when it changes, the replay begins anew
	State      State     `json:"state"`
	Error      string    `json:"error,omitempty"`
	Records    uint64    `json:"records"` // to read
	Result     Result    `json:"result"`
	StartedAt  time.Time `json:"started_at"`
	FinishedAt time.Time `json:"finished_at,omitzero"`
}

// Jobs are the replays of a lake. It is safe for concurrent use.
type Jobs struct{ DB *metadb.DB }

// Create keeps a new job.
func (j Jobs) Create(ctx context.Context, job Job) error {
	doc, err := json.Marshal(job)
	if err != nil {
		return err
	}
	_, err = j.DB.Exec(ctx, "INSERT INTO replays (id, pipeline, state, doc, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?)",
		job.ID, job.Pipeline, string(job.State), doc, metadb.Micros(job.StartedAt), metadb.Micros(job.StartedAt))
	return err
}

// Save keeps what a job has become.
func (j Jobs) Save(ctx context.Context, job Job) error {
	return j.DB.Tx(ctx, func(tx *metadb.Tx) error { return j.SaveIn(ctx, tx, job) })
}

// SaveIn is Save as a statement of a transaction.
func (j Jobs) SaveIn(ctx context.Context, tx *metadb.Tx, job Job) error {
	doc, err := json.Marshal(job)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, "UPDATE replays SET state = ?, doc = ?, updated_at = ? WHERE id = ?", string(job.State), doc, metadb.Micros(time.Now()), job.ID)
	return err
}

// Get returns one job. CodeNotFound when there is none of that id.
func (j Jobs) Get(ctx context.Context, id string) (Job, error) {
	var job Job
	var doc []byte
	err := j.DB.QueryRow(ctx, "SELECT doc FROM replays WHERE id = ?", id).Scan(&doc)
	if errors.Is(err, sql.ErrNoRows) {
		return job, &tarn.Error{Code: tarn.CodeNotFound, Detail: fmt.Sprintf("there is no replay %q", id), Hint: "tarn replay ls lists them"}
	}
	if err != nil {
		return job, err
	}
	return job, json.Unmarshal(doc, &job)
}

// Made returns the replays that have made tables, by table.
func (j Jobs) Made(ctx context.Context) (map[string]Job, error) {
	jobs, err := j.query(ctx, fmt.Sprintf("SELECT doc FROM replays WHERE state = '%s' ORDER BY created_at", Done))
	made := map[string]Job{}
	for _, job := range jobs {
		if job.Into != "" {
			made[job.Into] = job
		}
	}
	return made, err
}

// maxListed bounds List.
const maxListed = 200

// List returns the last jobs, the newest first; with unfinished only those to be taken up.
func (j Jobs) List(ctx context.Context, unfinished bool) ([]Job, error) {
	where := ""
	if unfinished {
		where = fmt.Sprintf("WHERE state IN ('%s', '%s') ", Running, Canceling)
	}
	return j.query(ctx, fmt.Sprintf("SELECT doc FROM replays %sORDER BY created_at DESC, id LIMIT %d", where, maxListed))
}

func (j Jobs) query(ctx context.Context, q string) ([]Job, error) {
	rows, err := j.DB.Query(ctx, q)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var jobs []Job
	for rows.Next() {
		var doc []byte
		var job Job
		if err := rows.Scan(&doc); err != nil {
			return nil, err
		}
		if err := json.Unmarshal(doc, &job); err != nil {
			return nil, err
		}
		jobs = append(jobs, job)
	}
	return jobs, rows.Err()
}
