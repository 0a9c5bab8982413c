package server

import (
	"context"
	"fmt"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/tarn-data/tarn"
)

// FailedFilter selects failed records. Zero values select all.
type FailedFilter struct {
	Pipeline string    `json:"pipeline,omitempty" doc:"Only records of this pipeline"`
	Table    string    `json:"table,omitempty" doc:"Only records that were on their way there: a table, database.NAME, cleaned.NAME or extract.NAME"`
	Delivery string    `json:"delivery,omitempty" enum:"table,database,cleaned,extract" doc:"Only records that failed in a delivery of this kind"`
	Stage    string    `json:"stage,omitempty" enum:"decode,function,convert,sql,validate,database,twin,late" doc:"Only records that failed there"`
	Since    time.Time `json:"since,omitzero" doc:"Only records that failed then or later"`
	IDs      []int64   `json:"ids,omitempty" maxItems:"1000" doc:"Only these"`
	After    int64     `json:"after,omitempty" minimum:"0" doc:"Only records with a greater id: the next page"`
	Limit    int       `json:"limit,omitempty" minimum:"0" maximum:"10000" doc:"At most so many, in the order of their ids; 0 is the server's choice"`
}

// RetryDoc says what became of failed records. tried = settled + failed_again.
type RetryDoc struct {
	Tried       int64 `json:"tried"`
	Settled     int64 `json:"settled" doc:"In the table now, or left out by the pipeline"`
	Rows        int64 `json:"rows" doc:"Rows that the settled ones gave"`
	FailedAgain int64 `json:"failed_again" doc:"Still there, with one more attempt and the new reason"`
	NoBytes     int64 `json:"no_bytes" doc:"Not tried: they were damaged in the stream, and can only be discarded"`
	NoDelivery  int64 `json:"no_delivery" doc:"Not tried: no pipeline of the project delivers them"`
	NextAfter   int64 `json:"next_after,omitempty" doc:"There may be more after this id"`
}

// DiscardDoc says how many failed records were given up. They count as left out by the pipeline.
type DiscardDoc struct {
	Discarded int64 `json:"discarded"`
	NextAfter int64 `json:"next_after,omitempty" doc:"There may be more after this id"`
}

type (
	failedIn struct {
		Pipeline string    `query:"pipeline" doc:"Only records of this pipeline"`
		Table    string    `query:"table" doc:"Only records that were on their way there: a table, database.NAME, cleaned.NAME or extract.NAME"`
		Delivery string    `query:"delivery" enum:"table,database,cleaned,extract" doc:"Only records that failed in a delivery of this kind"`
		Stage    string    `query:"stage" enum:"decode,function,convert,sql,validate,database,twin,late" doc:"Only records that failed there"`
		Since    time.Time `query:"since" doc:"Only records that failed then or later"`
		ID       int64     `query:"id" minimum:"0" doc:"Only this one"`
		After    int64     `query:"after" minimum:"0" doc:"Only records with a greater id: the next page"`
		Limit    int       `query:"limit" minimum:"1" maximum:"10000" default:"100" doc:"At most so many, in the order of their ids"`
	}
	failedOut struct{ Body FailedPage }
	failedID  struct {
		ID int64 `path:"id" minimum:"1" doc:"The id of the failed record"`
	}
	failedOne  struct{ Body FailedDoc }
	settleIn   struct{ Body FailedFilter }
	retryOut   struct{ Body RetryDoc }
	discardOut struct{ Body DiscardDoc }
)

// registerFailed mounts and documents what can be done with failed records.
func (s *Server) registerFailed(api huma.API) {
	c := s.opts.Control
	failed := func(ctx context.Context, f FailedFilter) (FailedPage, error) {
		if c.Failed == nil {
			return FailedPage{}, errNotOffered
		}
		v, err := c.Failed(ctx, f)
		v.Failed = list(v.Failed)
		return v, err
	}
	register(s, api, "GET", "/v1/failed", "list-failed", "pipelines", "Records that could not be delivered, with stage, reason and position",
		func(ctx context.Context, in *failedIn) (*failedOut, error) {
			f := FailedFilter{Pipeline: in.Pipeline, Table: in.Table, Delivery: in.Delivery, Stage: in.Stage, Since: in.Since, After: in.After, Limit: in.Limit}
			if in.ID != 0 {
				f.IDs = []int64{in.ID}
			}
			v, err := failed(ctx, f)
			return &failedOut{v}, err
		})
	register(s, api, "GET", "/v1/failed/{id}", "get-failed", "pipelines", "One failed record with its bytes",
		func(ctx context.Context, in *failedID) (*failedOne, error) {
			v, err := failed(ctx, FailedFilter{IDs: []int64{in.ID}, Limit: 1})
			if err != nil {
				return nil, err
			}
			if len(v.Failed) == 0 {
				return nil, &tarn.Error{Code: tarn.CodeNotFound, Detail: fmt.Sprintf("there is no failed record %d", in.ID), Hint: "tarn failed ls lists them"}
			}
			return &failedOne{v.Failed[0]}, nil
		})
	register(s, api, "POST", "/v1/failed/retry", "retry-failed", "pipelines", "Run failed records through the pipeline as it is now",
		func(ctx context.Context, in *settleIn) (*retryOut, error) {
			if c.RetryFailed == nil {
				return nil, errNotOffered
			}
			v, err := c.RetryFailed(ctx, in.Body)
			return &retryOut{v}, err
		})
	register(s, api, "POST", "/v1/failed/discard", "discard-failed", "pipelines", "Give failed records up for good; they count as left out",
		func(ctx context.Context, in *settleIn) (*discardOut, error) {
			if c.DiscardFailed == nil {
				return nil, errNotOffered
			}
			v, err := c.DiscardFailed(ctx, in.Body)
			return &discardOut{v}, err
		})
}
