package server

import (
	"context"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/tarn-data/tarn"
)

// ReplayRequest asks for a replay of a pipeline's history.
type ReplayRequest struct {
	From   string `json:"from" doc:"Where it begins: earliest, a time, or a position, which means its shard alone" example:"2026-11-20T03:00:00Z"`
	To     string `json:"to,omitempty" doc:"Where it ends: before a time or a position; without it, at the end"`
	Source string `json:"source,omitempty" enum:"stream,raw" doc:"Where the records are read: the stream, or its raw backup and what comes after that; default stream"`
	Into   string `json:"into,omitempty" doc:"A table to make; without it, partitions of the pipeline's table are replaced"`
	Table  string `json:"table,omitempty" doc:"Which table's delivery, where the pipeline has several"`
}

// ReplayDoc describes a replay.
type ReplayDoc struct {
	ID               string        `json:"id"`
	Pipeline         string        `json:"pipeline"`
	Table            string        `json:"table"`
	Into             string        `json:"into,omitempty"`
	Source           string        `json:"source"`
	From             string        `json:"from"`
	To               string        `json:"to,omitempty"`
	Ranges           []ReplayRange `json:"ranges,omitempty" doc:"The records asked for"`
	State            string        `json:"state" enum:"running,done,failed,canceling,canceled"`
	Error            string        `json:"error,omitempty"`
	Records          uint64        `json:"records" doc:"Records to read; in place these are all of the history"`
	Done             uint64        `json:"done" doc:"Of them converted; those of a replay that runs may not be committed yet"`
	RecordsPerSecond float64       `json:"records_per_second,omitempty"`
	Rows             uint64        `json:"rows" doc:"Rows they gave, when done"`
	Failed           uint64        `json:"failed" doc:"Records that failed, when done"`
	Partitions       int           `json:"partitions,omitempty" doc:"Partitions that were replaced"`
	Whole            bool          `json:"whole,omitempty" doc:"These are all partitions of the table"`
	StartedAt        time.Time     `json:"started_at"`
	FinishedAt       *time.Time    `json:"finished_at,omitempty"`
}

// ReplayRange is a run of records of one shard.
type ReplayRange struct {
	First tarn.Position `json:"first"`
	Last  tarn.Position `json:"last"`
}

// ReplayControl are the functions of the engine for replays.
type ReplayControl struct {
	Start  func(ctx context.Context, pipeline string, req ReplayRequest) (ReplayDoc, error)
	List   func(context.Context) ([]ReplayDoc, error)
	Get    func(ctx context.Context, id string) (ReplayDoc, error)
	Cancel func(ctx context.Context, id string) (ReplayDoc, error)
}

type (
	replayIn struct {
		Name string `path:"name" maxLength:"255" doc:"The pipeline"`
		Body ReplayRequest
	}
	replayID struct {
		ID string `path:"id" maxLength:"64" doc:"The id of the replay"`
	}
	replayOut  struct{ Body ReplayDoc }
	replaysOut struct{ Body replayList }
	replayList struct {
		Replays []ReplayDoc `json:"replays"`
	}
)

// registerReplays mounts and documents replays.
func (s *Server) registerReplays(api huma.API) {
	c := s.opts.Control.Replay
	register(s, api, "POST", "/v1/pipelines/{name}/replays", "start-replay", "pipelines", "Run history through the pipeline as it is now; answers at once",
		func(ctx context.Context, in *replayIn) (*replayOut, error) {
			if c.Start == nil {
				return nil, errNotOffered
			}
			v, err := c.Start(ctx, in.Name, in.Body)
			return &replayOut{v}, err
		})
	register(s, api, "GET", "/v1/replays", "list-replays", "pipelines", "The last replays, the newest first",
		func(ctx context.Context, _ *none) (*replaysOut, error) {
			v, err := call(ctx, c.List)
			return &replaysOut{replayList{list(v)}}, err
		})
	one := func(do func(context.Context, string) (ReplayDoc, error)) func(context.Context, *replayID) (*replayOut, error) {
		return func(ctx context.Context, in *replayID) (*replayOut, error) {
			if do == nil {
				return nil, errNotOffered
			}
			v, err := do(ctx, in.ID)
			return &replayOut{v}, err
		}
	}
	register(s, api, "GET", "/v1/replays/{id}", "get-replay", "pipelines", "One replay and how far it is", one(c.Get))
	register(s, api, "POST", "/v1/replays/{id}/cancel", "cancel-replay", "pipelines", "End a replay; nothing of it is left", one(c.Cancel))
}
