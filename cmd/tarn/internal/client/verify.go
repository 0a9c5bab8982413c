package client

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/server"
)

// VerifyDeep has the server read all that it stores; on is told how far that is.
func (c *Client) VerifyDeep(ctx context.Context, on func(server.VerifyProgress)) (server.VerifyDoc, error) {
	resp, err := c.Do(ctx, http.MethodGet, "/v1/verify?deep=true", http.Header{"Accept": {"application/x-ndjson"}}, nil)
	if err != nil {
		return server.VerifyDoc{}, err
	}
	defer resp.Body.Close()
	for lines := json.NewDecoder(resp.Body); ; {
		var line struct {
			Progress *server.VerifyProgress
			Result   *server.VerifyDoc
			Problem  *tarn.Error
		}
		err := lines.Decode(&line)
		switch {
		case err != nil:
			return server.VerifyDoc{}, c.broken(ctx, err)
		case line.Problem != nil:
			return server.VerifyDoc{}, line.Problem
		case line.Result != nil:
			return *line.Result, nil
		case line.Progress != nil:
			on(*line.Progress)
		}
	}
}
