package server

import (
	"context"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

// ExtractDoc describes an extract and how far it is.
type ExtractDoc struct {
	Name        string     `json:"name"`
	Owner       string     `json:"owner,omitempty"`
	Description string     `json:"description,omitempty"`
	From        string     `json:"from" doc:"The stream it reads"`
	To          string     `json:"to" example:"twin fleet" doc:"The stream, twin or table it writes"`
	Window      string     `json:"window,omitempty" example:"tumbling 1m0s" doc:"Absent for SQL that works record by record"`
	State       string     `json:"state" enum:"running,retrying"`
	LagRecords  uint64     `json:"lag_records" doc:"Records accepted and not yet taken in"`
	LagSeconds  float64    `json:"lag_seconds" doc:"Age of the oldest of them"`
	Records     uint64     `json:"records" doc:"Records taken in"`
	Rows        uint64     `json:"rows" doc:"Rows it has given"`
	Failed      uint64     `json:"failed"`
	Dropped     uint64     `json:"dropped" doc:"Records left out, by the SQL or because they were late"`
	LastCommit  *time.Time `json:"last_commit,omitempty"`
	LastError   string     `json:"last_error,omitempty"`
	Warning     string     `json:"warning,omitempty" doc:"It goes on, but perhaps not as was meant"`
}

type (
	extractOut  struct{ Body ExtractDoc }
	extractsOut struct{ Body extractList }
	extractList struct {
		Extracts []ExtractDoc `json:"extracts"`
	}
)

// registerExtracts mounts what tells of continuous SQL.
func (s *Server) registerExtracts(api huma.API) {
	c := s.opts.Control
	register(s, api, "GET", "/v1/extracts", "list-extracts", "pipelines", "The extracts of the project: continuous SQL from a stream to a stream, twin or table",
		func(ctx context.Context, _ *none) (*extractsOut, error) {
			v, err := call(ctx, c.Extracts)
			return &extractsOut{extractList{list(v)}}, err
		})
	register(s, api, "POST", "/v1/extracts/{name}/flush", "flush-extract", "pipelines", "Commit everything that an extract, and those in front of it, can take in now, and wait for that. Open windows stay open",
		func(ctx context.Context, in *byName) (*extractOut, error) {
			if c.FlushExtract == nil {
				return nil, errNotOffered
			}
			if err := c.FlushExtract(ctx, in.Name); err != nil {
				return nil, err
			}
			all, err := call(ctx, c.Extracts)
			v, err := pick(all, err, "extract", in.Name, func(d ExtractDoc) string { return d.Name })
			return &extractOut{v}, err
		})
}
