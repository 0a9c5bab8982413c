package server

import (
	"context"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/tarn-data/tarn"
)

// LossRef names records that the storage of a stream lost, all of one shard.
type LossRef struct {
	Stream string        `json:"stream" minLength:"1"`
	First  tarn.Position `json:"first"`
	Last   tarn.Position `json:"last"`
}

// LossDoc is a loss that a verification names.
type LossDoc struct {
	LossRef
	Accepted *AcceptedDoc `json:"accepted,omitempty" doc:"Who knows of it; without, the verification fails for it"`
}

// AcceptedDoc says who accepted a loss.
type AcceptedDoc struct {
	By     string    `json:"by"`
	At     time.Time `json:"at"`
	Reason string    `json:"reason"`
}

// AcceptLosses is the body of POST /v1/losses/accept.
type AcceptLosses struct {
	Losses []LossRef `json:"losses" minItems:"1" maxItems:"1000" doc:"As GET /v1/verify names them"`
	Reason string    `json:"reason" minLength:"1" maxLength:"1000" doc:"Why that is in order"`
	By     string    `json:"by,omitempty" maxLength:"200" doc:"Who accepts it. Counts only without a token, which says who it is"`
}

// registerLosses mounts and documents what can be done about losses.
func (s *Server) registerLosses(api huma.API) {
	type in struct{ Body AcceptLosses }
	type out struct {
		Body struct {
			Accepted int `json:"accepted" doc:"Losses"`
		}
	}
	register(s, api, "POST", "/v1/losses/accept", "accept-losses", "operations", "Note that losses are known of, so that verifications do not fail for them any more",
		func(ctx context.Context, in *in) (*out, error) {
			if s.opts.Control.AcceptLosses == nil {
				return nil, errNotOffered
			}
			var o out
			o.Body.Accepted = len(in.Body.Losses)
			return &o, s.opts.Control.AcceptLosses(ctx, in.Body)
		})
}
