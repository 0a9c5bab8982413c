package server

import (
	"net/http"
	"reflect"

	"github.com/danielgtaylor/huma/v2"

	"github.com/tarn-data/tarn"
)

// RunDoc answers POST /v1/pipelines/{pipeline}/runs.
type RunDoc struct {
	Pipeline string    `json:"pipeline"`
	Files    []RunFile `json:"files"`
}

// RunFile is what came of one file.
type RunFile struct {
	File      string      `json:"file"`
	Hash      string      `json:"hash" doc:"The first 32 hexadecimal digits of the BLAKE3 of the file, as in the column _file_hash; of its SHA-256 when an older version took it first"`
	Bytes     int64       `json:"bytes"`
	Format    string      `json:"format,omitempty"`
	Duplicate bool        `json:"duplicate,omitempty" doc:"The same bytes were taken before; the counts are those of then, and nothing was added"`
	TakenAs   string      `json:"taken_as,omitempty" doc:"Of a duplicate: the name under which it was taken"`
	Take      int         `json:"take,omitempty" doc:"How often the same bytes were taken again on purpose"`
	Accepted  int64       `json:"accepted" doc:"Records that are durable in the stream"`
	Rejected  int64       `json:"rejected" doc:"Records that are none"`
	Shards    []RunShard  `json:"shards" doc:"Where the records are"`
	Rejects   []RunReject `json:"rejects,omitempty" doc:"The first 100 rejected records"`
	Fault     *RunFault   `json:"fault,omitempty" doc:"Why the file failed"`
}

// RunShard says where the records of a file are in one shard. Others may lie between.
type RunShard struct {
	Shard    int           `json:"shard"`
	Accepted int64         `json:"accepted"`
	First    tarn.Position `json:"first_position"`
	Last     tarn.Position `json:"last_position"`
}

// RunReject is one rejected record.
type RunReject struct {
	Line   int64     `json:"line" doc:"Line of the file, or number of the record where the format has no lines"`
	Code   tarn.Code `json:"code"`
	Detail string    `json:"detail"`
	Text   string    `json:"text,omitempty" doc:"The start of the record"`
}

// RunFault is why a file failed.
type RunFault struct {
	Code   tarn.Code `json:"code"`
	Detail string    `json:"detail"`
	Hint   string    `json:"hint,omitempty"`
	Line   int64     `json:"line,omitempty"`
}

// mountRuns mounts and documents the pushing of files. It stays outside huma, which would hold a
// whole file in memory.
func (s *Server) mountRuns(api huma.API) {
	const path = "/v1/pipelines/{pipeline}/runs"
	h := s.opts.Runs
	if h == nil {
		h = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.problems.Write(w, r, errNotOffered) })
	}
	s.mux.Handle("POST "+path, h)
	schema := huma.SchemaFromType(api.OpenAPI().Components.Schemas, reflect.TypeFor[RunDoc]())
	text := &huma.Schema{Type: "string"}
	binary := &huma.MediaType{Schema: &huma.Schema{Type: "string", Format: "binary"}}
	api.OpenAPI().AddOperation(&huma.Operation{
		Method: http.MethodPost, Path: path, OperationID: "run-pipeline", Tags: []string{"pipelines"},
		Summary: "Push files through a pipeline",
		Description: "Takes CSV, TSV, JSON, NDJSON, Parquet, Avro and text, plain or compressed with gzip or zstd, of any size, and answers when every record is in the stream. " +
			"The same bytes are taken once, however often they are sent.",
		Parameters: []*huma.Param{
			{Name: "pipeline", In: "path", Required: true, Schema: text, Description: "The pipeline"},
			{Name: "name", In: "query", Schema: text, Description: "The name of the file; it becomes the column _file, and its ending tells the format"},
			{Name: "format", In: "query", Schema: &huma.Schema{Type: "string", Enum: []any{"auto", "csv", "json", "ndjson", "parquet", "avro", "text"}}, Description: "How the file is read"},
			{Name: "again", In: "query", Schema: &huma.Schema{Type: "boolean"}, Description: "Take the file also when the same bytes were taken before"},
		},
		RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
			"application/octet-stream": binary, "application/x-ndjson": {Schema: text}, "text/csv": {Schema: text},
			"multipart/form-data": {Schema: &huma.Schema{Type: "object", Properties: map[string]*huma.Schema{"file": {Type: "array", Items: &huma.Schema{Type: "string", Format: "binary"}}}}},
		}},
		Responses: map[string]*huma.Response{
			"200":     {Description: "The records are durable", Content: map[string]*huma.MediaType{"application/json": {Schema: schema}}},
			"default": problemResponse(api, "Error; the member files says what came of those that were taken"),
		},
	})
}
