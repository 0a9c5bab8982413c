package server

import (
	"encoding/json"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/record"
)

// The documents of the HTTP interface. They are what clients see: fields are added, never renamed.

// StatusDoc answers GET /v1/status.
type StatusDoc struct {
	Project   string    `json:"project"`
	Version   string    `json:"version"`
	StartedAt time.Time `json:"started_at"`
	Ready     bool      `json:"ready"`
	Reasons   []string  `json:"reasons,omitempty" doc:"Why it is not ready"`
	DataDir   string    `json:"data_dir,omitempty"`
	Accepted  uint64    `json:"accepted" doc:"Records ever acknowledged, over all streams"`
	Committed uint64    `json:"committed" doc:"Records accounted for by table commits"`
	Failed    uint64    `json:"failed" doc:"Records kept as failed"`
	Pending   uint64    `json:"pending" doc:"Records acknowledged and not yet committed"`
}

// IngestDoc answers POST /v1/streams/{stream}/records. When the records went to several shards,
// First and Last are the positions of the request's first and last accepted record.
type IngestDoc struct {
	Accepted      int             `json:"accepted" doc:"Records that are durable now"`
	Rejected      []record.Reject `json:"rejected" doc:"Records that were not accepted, by their index in the request; the first 1000"`
	RejectedTotal int             `json:"rejected_total,omitempty" doc:"How many were rejected, when they are more than listed"`
	First         tarn.Position   `json:"first_position"`
	Last          tarn.Position   `json:"last_position"`
	Shards        []IngestShard   `json:"shards,omitempty" doc:"Present when the records went to several shards"`
}

// IngestShard is the part of an IngestDoc in one shard.
type IngestShard struct {
	Accepted int           `json:"accepted"`
	First    tarn.Position `json:"first_position"`
	Last     tarn.Position `json:"last_position"`
}

// StreamDoc describes one stream.
type StreamDoc struct {
	Name         string     `json:"name"`
	Pipelines    []string   `json:"pipelines"`
	Retention    string     `json:"retention,omitempty" example:"168h0m0s"`
	MaxBytes     int64      `json:"max_bytes,omitempty"`
	PartitionKey string     `json:"partition_key,omitempty"`
	Accepted     uint64     `json:"accepted" doc:"Records ever acknowledged"`
	Records      uint64     `json:"records" doc:"Records retained"`
	Bytes        uint64     `json:"bytes" doc:"Bytes retained on disk"`
	Shards       []ShardDoc `json:"shards"`
}

// ShardDoc describes one shard of a stream.
type ShardDoc struct {
	Shard   int            `json:"shard"`
	First   *tarn.Position `json:"first_position,omitempty" doc:"Oldest retained record"`
	Next    tarn.Position  `json:"next_position" doc:"Position the next record will get"`
	Records uint64         `json:"records"`
	Bytes   uint64         `json:"bytes"`
	Oldest  *time.Time     `json:"oldest,omitempty" doc:"When the oldest retained batch was stored"`
	Newest  *time.Time     `json:"newest,omitempty" doc:"When the newest batch was stored"`
}

// PipelineDoc describes one pipeline.
type PipelineDoc struct {
	Name        string        `json:"name"`
	Owner       string        `json:"owner,omitempty"`
	Description string        `json:"description,omitempty"`
	Stream      string        `json:"stream"`
	Source      *SourceDoc    `json:"source,omitempty" doc:"Present when a function brings the records"`
	Deliveries  []DeliveryDoc `json:"deliveries"`
	RawBackup   *RawBackupDoc `json:"raw_backup,omitempty"`
}

// RawBackupDoc describes the raw backup of a pipeline's stream.
type RawBackupDoc struct {
	Table      string     `json:"table" example:"raw.telemetry"`
	State      string     `json:"state" enum:"running,retrying"`
	LagRecords uint64     `json:"lag_records" doc:"Records acknowledged and not yet in an object"`
	Records    uint64     `json:"records" doc:"Records backed up, those past their lifecycle too"`
	Expired    uint64     `json:"expired" doc:"Records that retention removed before they were backed up"`
	Damaged    uint64     `json:"damaged" doc:"Records that the stream's storage lost before they were backed up"`
	LastObject *time.Time `json:"last_object,omitempty"`
	LastError  string     `json:"last_error,omitempty"`
}

// DeliveryDoc describes one delivery of a pipeline.
type DeliveryDoc struct {
	Table      string     `json:"table"`
	State      string     `json:"state" enum:"running,retrying,paused,held back" doc:"held back: a function it calls does not run; its records wait in the stream, last_error says why"`
	LagRecords uint64     `json:"lag_records" doc:"Records acknowledged and not yet committed"`
	LagSeconds float64    `json:"lag_seconds" doc:"Age of the oldest of them"`
	TailRows   uint64     `json:"tail_rows" doc:"Rows visible to SQL and not yet committed"`
	Records    uint64     `json:"records" doc:"Records accounted for by commits"`
	Rows       uint64     `json:"rows" doc:"Rows committed"`
	Failed     uint64     `json:"failed"`
	LastCommit *time.Time `json:"last_commit,omitempty"`
	LastError  string     `json:"last_error,omitempty"`
	Warning    string     `json:"warning,omitempty" doc:"It goes on, but perhaps not as was meant"`
}

// TableDoc describes one table; lists leave out its schema, snapshots and notes.
type TableDoc struct {
	Name             string         `json:"name" example:"curated.telemetry"`
	Kind             string         `json:"kind" enum:"iceberg,external,backup,cleaned,twin" doc:"external: over files that something else writes; backup: the raw backup of a stream; cleaned: records that passed, in their own format; twin: the newest values, kept in a database"`
	UUID             string         `json:"uuid"`
	Location         string         `json:"location"`
	MetadataLocation string         `json:"metadata_location,omitempty"`
	Pipeline         string         `json:"pipeline,omitempty"`
	Partition        []string       `json:"partition_by"`
	SnapshotID       string         `json:"snapshot_id,omitempty" doc:"A 64-bit number, as text because JavaScript rounds it"`
	Rows             int64          `json:"rows" doc:"Rows committed"`
	Files            int            `json:"files"`
	Bytes            int64          `json:"bytes"`
	TailRows         int64          `json:"tail_rows" doc:"Rows visible to SQL and not yet committed"`
	UpdatedAt        time.Time      `json:"updated_at"`
	Columns          []ColumnDoc    `json:"columns,omitempty"`
	Snapshots        []SnapshotDoc  `json:"snapshots,omitempty" doc:"Newest first"`
	Inference        []InferenceDoc `json:"inference,omitempty" doc:"What was inferred from data, and why"`
	External         *ExternalDoc   `json:"external,omitempty"`
}

// ColumnDoc describes one column.
type ColumnDoc struct {
	ID       int    `json:"id"`
	Name     string `json:"name"`
	Type     string `json:"type" example:"DOUBLE"`
	Required bool   `json:"required"`
	Doc      string `json:"doc,omitempty"`
}

// SnapshotDoc describes one snapshot of a table.
type SnapshotDoc struct {
	ID        string            `json:"id"`
	ParentID  string            `json:"parent_id,omitempty"`
	At        time.Time         `json:"at"`
	Operation string            `json:"operation"`
	Summary   map[string]string `json:"summary,omitempty"`
}

// InferenceDoc says why a column has its type.
type InferenceDoc struct {
	Column string `json:"column"`
	Type   string `json:"type"`
	Why    string `json:"why"`
}

// FailedPage answers GET /v1/failed. A page ends at the limit, and where its records get large.
type FailedPage struct {
	Failed    []FailedDoc `json:"failed"`
	NextAfter int64       `json:"next_after,omitempty" doc:"There may be more: ask with after=this for the next page"`
}

// FailedDoc is one failed record. Exactly one of Record and RecordBase64 is set.
type FailedDoc struct {
	ID           int64           `json:"id"`
	Pipeline     string          `json:"pipeline"`
	Table        string          `json:"table" doc:"Where the record was on its way to" example:"database.users"`
	Delivery     string          `json:"delivery" enum:"table,database,cleaned,extract" doc:"The kind of delivery it failed in"`
	Stream       string          `json:"stream"`
	Position     tarn.Position   `json:"position"`
	Stage        string          `json:"stage" example:"convert"`
	Code         tarn.Code       `json:"code"`
	Reason       string          `json:"reason"`
	Attempts     int             `json:"attempts"`
	Arrival      time.Time       `json:"arrival"`
	FailedAt     time.Time       `json:"failed_at"`
	Record       json.RawMessage `json:"record,omitempty" doc:"The record, when it is JSON"`
	RecordBase64 string          `json:"record_base64,omitempty" doc:"The record's bytes, when it is not"`
}

// VerifyDoc answers GET /v1/verify: the proof of I3.
type VerifyDoc struct {
	OK       bool            `json:"ok"`
	At       time.Time       `json:"at"`
	Accounts []VerifyAccount `json:"accounts"`
	Kept     []string        `json:"kept,omitempty" doc:"Tables that nothing delivers to, a replay's for example: their rows, files and failed records were checked too"`
	Losses   []LossDoc       `json:"losses,omitempty" doc:"Acknowledged records that streams lost before they were delivered; those that nobody has accepted are problems, the others notes"`
	Problems []VerifyProblem `json:"problems,omitempty"`
	Notes    []VerifyProblem `json:"notes,omitempty" doc:"What adds up, but somebody should know"`
	Totals   VerifyTotals    `json:"totals"`
}

// VerifyProgress is how much of the content a verification has read.
type VerifyProgress struct {
	Subject string `json:"subject" example:"curated.telemetry"`
	Objects int    `json:"objects"`
	Bytes   int64  `json:"bytes"`
}

// VerifyAccount balances one shard of a stream against one table that it feeds:
// accepted = in_table + dropped + failed + pending + expired + lost.
type VerifyAccount struct {
	Stream   string `json:"stream"`
	Shard    int    `json:"shard"`
	Table    string `json:"table" doc:"Or the name of another delivery: extract.NAME goes to a twin or stream, windows.NAME gathers records into windows"`
	Extract  string `json:"extract,omitempty" doc:"The extract whose SQL runs"`
	Accepted uint64 `json:"accepted"`
	InTable  uint64 `json:"in_table" doc:"Records whose rows are committed: in the table, or applied to the twin, the stream or the windows"`
	Dropped  uint64 `json:"dropped" doc:"Records that the SQL left out on purpose, that came too late for a window, or that were discarded"`
	Failed   uint64 `json:"failed"`
	Pending  uint64 `json:"pending"`
	Expired  uint64 `json:"expired" doc:"Records that retention removed before delivery"`
	Lost     uint64 `json:"lost" doc:"Records that the stream's storage lost before delivery; losses names them"`
	OK       bool   `json:"ok"`
}

// VerifyTotals sums the accounts.
type VerifyTotals struct {
	Accepted uint64 `json:"accepted"`
	InTable  uint64 `json:"in_table"`
	Dropped  uint64 `json:"dropped"`
	Failed   uint64 `json:"failed"`
	Pending  uint64 `json:"pending"`
	Expired  uint64 `json:"expired"`
	Lost     uint64 `json:"lost"`
}

// VerifyProblem names one thing that does not add up.
type VerifyProblem struct {
	Subject string `json:"subject" example:"curated.telemetry"`
	Detail  string `json:"detail"`
}

// ChangeDoc is one difference between a project and what runs.
type ChangeDoc struct {
	Action string `json:"action" enum:"create,change,remove,leave"`
	Kind   string `json:"kind" example:"pipeline"`
	Name   string `json:"name"`
	Detail string `json:"detail,omitempty"`
}

// ReloadDoc answers POST /v1/reload.
type ReloadDoc struct {
	Changes    []ChangeDoc    `json:"changes" doc:"What was applied"`
	NotApplied []ShortfallDoc `json:"not_applied" doc:"What does not run as the project says; the rest does"`
}

// ShortfallDoc is a part of the project that does not run as the project says.
type ShortfallDoc struct {
	Kind   string `json:"kind" enum:"function,pipeline,extract,settings"`
	Name   string `json:"name"`
	State  string `json:"state" enum:"held back,as before,stopped" doc:"held back: it waits, its records in the stream; as before: what ran before goes on; stopped: it does not run"`
	Detail string `json:"detail" doc:"Why, and how to mend it"`
}

// MaintenanceDoc is the outcome of one maintenance task.
type MaintenanceDoc struct {
	Table        string  `json:"table"`
	Task         string  `json:"task" enum:"compact,expire,manifests,orphans"`
	Detail       string  `json:"detail"`
	FilesBefore  int     `json:"files_before,omitempty"`
	FilesAfter   int     `json:"files_after,omitempty"`
	FilesDeleted int     `json:"files_deleted,omitempty"`
	BytesDeleted int64   `json:"bytes_deleted,omitempty"`
	Seconds      float64 `json:"seconds"`
}
