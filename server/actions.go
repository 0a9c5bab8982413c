package server

import (
	"context"

	"github.com/danielgtaylor/huma/v2"
)

// registerPipelineActions mounts what can be done with a pipeline besides looking at it. Each
// answers with the pipeline as it is afterwards.
func (s *Server) registerPipelineActions(api huma.API) {
	c := s.opts.Control
	action := func(name, summary string, do func(context.Context, string) error) {
		register(s, api, "POST", "/v1/pipelines/{name}/"+name, name+"-pipeline", "pipelines", summary,
			func(ctx context.Context, in *byName) (*pipelineOut, error) {
				if do == nil {
					return nil, errNotOffered
				}
				if err := do(ctx, in.Name); err != nil {
					return nil, err
				}
				all, err := call(ctx, c.Pipelines)
				v, err := pick(all, err, "pipeline", in.Name, func(d PipelineDoc) string { return d.Name })
				return &pipelineOut{v}, err
			})
	}
	pause := func(on bool) func(context.Context, string) error {
		if c.Pause == nil {
			return nil
		}
		return func(_ context.Context, name string) error { return c.Pause(name, on) }
	}
	action("flush", "Commit everything that its deliveries and its raw backup can take in now, and wait for that. Extracts have a flush of their own", c.Flush)
	action("pause", "Stop delivery, and the runs of a source function; records are still accepted and stay in the stream", pause(true))
	action("resume", "Go on with delivery", pause(false))
}
