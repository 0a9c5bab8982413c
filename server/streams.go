package server

import (
	"net/http"
	"reflect"

	"github.com/danielgtaylor/huma/v2"
)

var problemGoType = reflect.TypeFor[Problem]()

// mountStreams mounts and documents the two endpoints that stream: posting records and reading
// them. Both stay outside huma, which would hold a whole body in memory and decode it.
func (s *Server) mountStreams(api huma.API) {
	s.mux.Handle("POST /v1/streams/{stream}/records", s.opts.Ingest)
	s.mux.HandleFunc("GET /v1/streams/{name}/records", s.tail)

	schema := func(v any) *huma.Schema {
		return huma.SchemaFromType(api.OpenAPI().Components.Schemas, reflect.TypeOf(v))
	}
	text, number, flag := &huma.Schema{Type: "string"}, &huma.Schema{Type: "integer"}, &huma.Schema{Type: "boolean"}
	api.OpenAPI().AddOperation(&huma.Operation{
		Method: http.MethodPost, Path: "/v1/streams/{stream}/records", OperationID: "post-records", Tags: []string{"streams"},
		Summary: "Post records",
		Description: "Answers when every accepted record is on disk. A malformed record is rejected by its index and does not take the others with it. " +
			"The body is read by its content type; without one, a body that begins with { or [ is JSON.",
		Parameters: []*huma.Param{
			{Name: "stream", In: "path", Required: true, Schema: text, Description: "The stream"},
			{Name: "key", In: "query", Schema: text, Description: "Partition key of all records, instead of the one in the record"},
			{Name: "Tarn-Partition-Key", In: "header", Schema: text, Description: "The same as key"},
			{Name: "Idempotency-Key", In: "header", Schema: &huma.Schema{Type: "string", MaxLength: ptr(255)}, Description: "A repeat within 10 minutes returns the first answer and adds nothing"},
			{Name: "Content-Encoding", In: "header", Schema: &huma.Schema{Type: "string", Enum: []any{"identity", "gzip", "zstd"}}},
		},
		RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
			"application/x-ndjson":     {Schema: text, Example: "{\"device_id\":\"w-1\",\"speed\":83.5}\n{\"device_id\":\"w-2\",\"speed\":71}\n"},
			"application/json":         {Schema: &huma.Schema{Description: "An object, or an array of objects"}},
			"application/octet-stream": {Schema: &huma.Schema{Type: "string", Format: "binary", Description: "One opaque record"}},
		}},
		Responses: map[string]*huma.Response{
			"200": {Description: "The accepted records are durable", Content: map[string]*huma.MediaType{"application/json": {Schema: schema(IngestDoc{})}}},
			"404": problemResponse(api, "There is no such stream"),
			"413": problemResponse(api, "The body or every record is over its limit, which the detail names"),
			"415": problemResponse(api, "The content type or encoding is not supported"),
			"422": problemResponse(api, "No record is acceptable; the member rejected lists why"),
			"429": problemResponse(api, "The memory for bodies is in use; try again after the time in Retry-After"),
			"503": problemResponse(api, "Starting or draining; try again after the time in Retry-After"),
		},
	})
	api.OpenAPI().AddOperation(&huma.Operation{
		Method: http.MethodGet, Path: "/v1/streams/{name}/records", OperationID: "get-records", Tags: []string{"streams"},
		Summary: "Read records",
		Parameters: []*huma.Param{
			{Name: "name", In: "path", Required: true, Schema: text, Description: "The stream"},
			{Name: "shard", In: "query", Schema: number, Description: "Only this shard"},
			{Name: "from", In: "query", Schema: text, Description: "earliest (the default), latest, a time, a position, or -N for N records before the end of each shard"},
			{Name: "limit", In: "query", Schema: number, Description: "At most so many records, 100 unless told otherwise, 0 for no limit"},
			{Name: "follow", In: "query", Schema: flag, Description: "Wait for new records until the client goes"},
		},
		Responses: map[string]*huma.Response{
			"200":     {Description: "One document per line", Content: map[string]*huma.MediaType{"application/x-ndjson": {Schema: schema(TailDoc{})}}},
			"default": problemResponse(api, "Error"),
		},
	})
}

func ptr[T any](v T) *T { return &v }
