package v1

// Extract is the content of one file under extracts/: SQL that runs over a stream for ever.
type Extract struct {
	Extract     Name          `json:"extract" required:"true" example:"speed" doc:"The name of the extract. Its progress is kept under it."`
	Owner       string        `json:"owner,omitempty" example:"fleet-data" doc:"Who answers for it."`
	Description string        `json:"description,omitempty" doc:"What it makes, for people."`
	From        Name          `json:"from" required:"true" example:"telemetry" doc:"The stream it reads: of a pipeline, as its records were accepted, or of another extract."`
	SQL         SQL           `json:"sql" required:"true" example:"sql/speed.sql" doc:"The path of a '.sql' file in the project, or the statement itself: 'SELECT … FROM records', which may join tables of the lake."`
	To          ExtractTarget `json:"to" required:"true" example:"{twin: fleet}" doc:"Where its rows go: exactly one of 'stream', 'twin' and 'table'."`
	Window      *Window       `json:"window,omitempty" example:"{tumbling: 1m, time: ts}" doc:"Windows of event time. The SQL then runs once over all records of a window and groups by 'window_start' and 'window_end'. Without it, the SQL works record by record."`
	Refresh     Duration      `json:"refresh,omitempty" min:"100ms" max:"24h" example:"30s" doc:"How often joined tables are looked at for a newer snapshot. Default: 1s."`
}

// ExtractTarget is where the rows of an extract go. What stands behind table is for tables.
type ExtractTarget struct {
	Stream       Name             `json:"stream,omitempty" example:"speeds" doc:"A stream, each row as a JSON object. One that no pipeline has is made."`
	Twin         Name             `json:"twin,omitempty" example:"fleet" doc:"A twin. The rows have the columns 'component', 'metric', 'value' and 'at', and any of 'type', 'unit', 'source', 'record_shard' and 'record_offset'."`
	Table        TableName        `json:"table,omitempty" example:"curated.speeds" doc:"A table, in the zone 'curated'."`
	PartitionBy  []PartitionField `json:"partition_by,omitempty" example:"[hour(window_start)]" doc:"How the files of the table are divided, as for pipelines."`
	Shards       int              `json:"shards,omitempty" min:"1" max:"256" example:"1" doc:"How many shards a stream gets that no pipeline has. Default: 1."`
	Retention    Duration         `json:"retention,omitempty" min:"1m" max:"876000h" example:"168h" doc:"How long such a stream keeps records. Default: 168h."`
	PartitionKey KeyPath          `json:"partition_key,omitempty" example:"device_id" doc:"The column whose value decides the shard in such a stream."`
}

// Window says how records are put into windows by their own time.
type Window struct {
	Tumbling  Duration     `json:"tumbling,omitempty" min:"1ms" max:"8784h" example:"1m" doc:"Windows of this length, one after the other, aligned to 1970-01-01T00:00:00Z."`
	Hopping   *Hopping     `json:"hopping,omitempty" example:"{size: 10m, every: 1m}" doc:"Windows that overlap."`
	Session   *Session     `json:"session,omitempty" example:"{gap: 5m}" doc:"Windows of records that follow each other, for each key."`
	Time      ColumnName   `json:"time" required:"true" example:"ts" doc:"The column that holds the time of a record: a timestamp, or text that is one. 'record_arrival' is when the record was accepted."`
	Key       []ColumnName `json:"key,omitempty" single:"true" example:"device_id" doc:"For sessions: the column, or columns, whose values each have their own."`
	Lateness  Duration     `json:"lateness" default:"0s" max:"8784h" example:"10s" doc:"How far the time of a record may lie behind the newest time before it in its shard."`
	Late      string       `json:"late" default:"drop" enum:"drop,failed,update" example:"drop" doc:"What becomes of a record that is later. 'drop': it is counted and left out. 'failed': it becomes a failed record. 'update', not for sessions: for 'update_for' its window is delivered again, as the next revision; then it is dropped."`
	UpdateFor Duration     `json:"update_for" default:"1h" min:"1s" max:"8784h" example:"1h" doc:"For 'late: update': how much later than 'lateness' a record may be."`
	IdleAfter Duration     `json:"idle_after,omitempty" min:"1s" max:"8784h" example:"5m" doc:"A shard whose time lies this far behind that of the furthest shard no longer holds windows back; its records are late by the time that windows have reached. Default: never."`
}

// Hopping is windows that begin at regular times and overlap.
type Hopping struct {
	Size  Duration `json:"size" required:"true" min:"1ms" max:"8784h" example:"10m" doc:"How long a window is."`
	Every Duration `json:"every" required:"true" min:"1ms" max:"8784h" example:"1m" doc:"How far apart windows begin."`
}

// Session is windows with a pause after them.
type Session struct {
	Gap Duration `json:"gap" required:"true" min:"1ms" max:"8784h" example:"5m" doc:"A window ends when no record of its key has come for this long, in the time of the records."`
}
