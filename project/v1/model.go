package v1

import "time"

// Version is the number that tarn.yaml declares.
const Version = 1

// Project is the content of tarn.yaml.
type Project struct {
	Version int     `json:"version" required:"true" enum:"1" example:"1" doc:"The version of the project format."`
	Name    Name    `json:"name" required:"true" example:"fleet" doc:"The name of the project."`
	Engines Engines `json:"engines" doc:"Where streams, metadata and the lake live. Every part has an embedded default in the data folder. Paths are relative to the project folder; '${NAME}' stands for an environment variable, so that no secret is written here."`
	Server  Server  `json:"server" doc:"The HTTP listener."`
	Auth    Auth    `json:"auth" doc:"Who may call, and how. Changes take effect at the next start."`
	Limits  Limits  `json:"limits" doc:"Bounds on what Tarn accepts and uses."`
	Zones   Zones   `json:"zones" doc:"How long objects of the zones live that are not table data."`
}

// Engines names the engine behind each part.
type Engines struct {
	Stream   StreamURL   `json:"stream" default:"embedded" example:"nats://nats-1:4222" doc:"'embedded', or the 'nats://' or 'tls://' addresses of a NATS JetStream cluster, separated by commas. '?replicas=N' after the last one says how many servers keep a copy of each record, 1 to 5; default 3."`
	Metadata MetadataURL `json:"metadata" default:"embedded" example:"postgres://tarn:${PGPASSWORD}@db/tarn" doc:"'embedded', the path of a SQLite file, or a 'postgres://' URL."`
	Lake     LakeURL     `json:"lake" default:"embedded" example:"/srv/lake" doc:"'embedded', or the path of a folder."`
}

// Server is the HTTP listener.
type Server struct {
	Listen Address `json:"listen" default:"127.0.0.1:8080" example:"127.0.0.1:8080" doc:"The address to listen on. Without 'auth' only loopback addresses are bound."`
}

// Limits bounds one process.
type Limits struct {
	Record       ByteSize `json:"record" default:"1MiB" min:"1KiB" max:"30MiB" example:"1MiB" doc:"The largest record accepted."`
	Body         ByteSize `json:"body" default:"16MiB" min:"1KiB" max:"30MiB" example:"16MiB" doc:"The largest request body accepted, after decompression."`
	Memory       ByteSize `json:"memory" default:"1GiB" min:"256MiB" example:"1GiB" doc:"The memory the whole process may use. Near it, producers are asked to wait."`
	QueryMemory  ByteSize `json:"query_memory" default:"256MiB" min:"32MiB" example:"256MiB" doc:"The part of 'memory' that queries may use; larger ones spill to disk."`
	QueryTimeout Duration `json:"query_timeout" default:"60s" min:"1s" max:"24h" example:"60s" doc:"How long one query may run."`
}

// Zones holds the lifecycle rules. Tables have 'maintenance' instead.
type Zones struct {
	Raw     ZoneRule `json:"raw" doc:"Raw backups and the originals of dropped files."`
	Cleaned ZoneRule `json:"cleaned" doc:"Records that passed, in their original format."`
}

// ZoneRule is the lifecycle rule of one zone.
type ZoneRule struct {
	ExpireAfter  Duration `json:"expire_after,omitempty" min:"1h" max:"876000h" example:"90d" doc:"Objects older than this are deleted. Default: never."`
	KeepVersions int      `json:"keep_versions,omitempty" min:"1" max:"100000" example:"3" doc:"The newest versions that stay of an object of one name, such as a file dropped again. Default: all."`
}

// Pipeline is the content of one file under pipelines/.
type Pipeline struct {
	Pipeline    Name        `json:"pipeline" required:"true" example:"telemetry" doc:"The name of the pipeline."`
	Owner       string      `json:"owner,omitempty" example:"fleet-data" doc:"Who answers for it."`
	Description string      `json:"description,omitempty" doc:"What it holds, for people."`
	Source      Source      `json:"source" doc:"The door its records come through. Default: 'http: {}'."`
	Records     string      `json:"records" default:"json" enum:"json,opaque" example:"json" doc:"What a record is. 'json': a JSON object; a request holds one, an array of them, or one per line. 'opaque': bytes that Tarn does not look into; every request body is one record."`
	Stream      Stream      `json:"stream" doc:"The durable log the records wait in."`
	Schema      []Column    `json:"schema,omitempty" shorthand:"name,type" example:"{ts: TIMESTAMP, device_id: VARCHAR}" doc:"The columns of the records as they arrive, or as the functions return them, before the other steps: a mapping of column to SQL type, or a list. Without it, the columns are inferred from the data."`
	Transform   []Transform `json:"transform,omitempty" example:"[{sql: sql/telemetry.sql}]" doc:"What is done to every batch, in order; the result of one is 'records' to the next. A step is exactly one key. Functions come first."`
	Deliver     []Delivery  `json:"deliver" required:"true" example:"[{table: curated.telemetry}]" doc:"Where the result goes, each exactly one of 'table', 'database' and 'cleaned'. An empty list keeps the records in the stream only."`
}

// Stream is the durable log of a pipeline.
type Stream struct {
	Name         Name     `json:"name,omitempty" example:"telemetry" doc:"The name of the stream. Default: the name of the pipeline."`
	Shards       int      `json:"shards" default:"1" min:"1" max:"256" example:"1" doc:"How many logs share the stream. Order is kept within a shard."`
	Retention    Duration `json:"retention" default:"168h" min:"1m" max:"876000h" example:"168h" doc:"How long records stay in the stream. Records older than this that are still undelivered are lost to the tables, and counted as expired."`
	MaxBytes     ByteSize `json:"max_bytes,omitempty" min:"64MiB" example:"10GiB" doc:"How much the whole stream may keep; the oldest records go first. Default: no bound."`
	PartitionKey KeyPath  `json:"partition_key,omitempty" example:"device_id" doc:"The key of the record whose value decides its shard; dots lead into nested objects."`
}

// Column is one column of a declared schema.
type Column struct {
	Name     ColumnName `json:"name" required:"true" example:"ts" doc:"The key in the record, and the name of the column."`
	Type     SQLType    `json:"type" required:"true" example:"TIMESTAMP, or STRUCT(lat DOUBLE, lon DOUBLE)" doc:"The SQL type, as DuckDB writes it: 'BIGINT', 'DOUBLE', 'VARCHAR', 'TIMESTAMP', 'DECIMAL(18,3)', 'VARCHAR[]', 'STRUCT(lat DOUBLE, lon DOUBLE)', 'MAP(VARCHAR, BIGINT)', 'JSON' …"`
	Doc      string     `json:"doc,omitempty" doc:"What the column means."`
	Required bool       `json:"required,omitempty" doc:"A record without a value here is a failed record."`
}

// Delivery is one place that a pipeline feeds. Everything behind buffer is for tables.
type Delivery struct {
	Table          TableName        `json:"table,omitempty" example:"curated.telemetry" doc:"The table, in the zone 'curated'."`
	Database       *Database        `json:"database,omitempty" example:"{url: 'postgres://app@db/app', table: users, key: user_id}" doc:"A table of a database outside of Tarn."`
	Cleaned        Name             `json:"cleaned,omitempty" example:"users" doc:"The name in the zone 'cleaned': the records that passed every step, in their original format."`
	When           Condition        `json:"when,omitempty" example:"list_contains(columns, 'user_id')" doc:"For 'source: files': an SQL condition that chooses the files delivered here, over 'file_name', 'file_size' (bytes), 'format', 'columns' (a list of names) and 'sample' (JSON, the first records). Default: all."`
	RawBackup      bool             `json:"raw_backup,omitempty" doc:"Keep exactly the accepted bytes of the stream in the zone 'raw'. It is enough to write it at one delivery of the pipeline."`
	Buffer         Buffer           `json:"buffer" doc:"When staged rows become a file. They are visible to SQL before."`
	PartitionBy    []PartitionField `json:"partition_by,omitempty" example:"[hour(ts)]" doc:"How the files of the table are divided: a column, 'year|month|day|hour(column)', 'bucket(16, column)' or 'truncate(8, column)'. Between '[ ]', quote what holds a comma."`
	Compression    string           `json:"compression" default:"snappy" enum:"snappy,zstd,none" example:"snappy" doc:"The compression of the Parquet files."`
	OnSchemaChange string           `json:"on_schema_change" default:"evolve" enum:"evolve,fail,ignore" example:"evolve" doc:"What a record does that has new or changed columns. 'evolve': new columns are added and numbers widen. 'fail': it becomes a failed record. 'ignore': new columns are left out, and what else does not fit becomes a failed record."`
	Maintenance    Maintenance      `json:"maintenance" doc:"What is done to the table in the background."`
}

// Database is a table outside of Tarn.
type Database struct {
	URL   DatabaseURL  `json:"url" required:"true" example:"postgres://app:${PGPASSWORD}@db/app" doc:"A 'postgres://' URL, or the path of a SQLite file relative to the project. '${NAME}' stands for an environment variable."`
	Table TargetTable  `json:"table" required:"true" example:"users" doc:"The table, or 'schema.table'. It is made when it is not there, and columns that it lacks are added."`
	Key   []ColumnName `json:"key,omitempty" single:"true" example:"user_id" doc:"The column, or the list of columns, that 'upsert' finds a row by."`
	Mode  string       `json:"mode" default:"append" enum:"append,upsert" example:"upsert" doc:"'append': every row is inserted. 'upsert': a row replaces the one with its key."`
	Name  Name         `json:"name,omitempty" example:"users" doc:"The name of the delivery is 'database.NAME', and its progress is kept under it. Default: the table without its schema."`
}

// Buffer says when staged rows become a file; whichever comes first.
type Buffer struct {
	Size     ByteSize `json:"size" default:"128MiB" min:"1MiB" max:"4GiB" example:"128MiB" doc:"When this much has been read from the stream."`
	Interval Duration `json:"interval" default:"60s" min:"1s" max:"24h" example:"60s" doc:"When the oldest staged row is this old. For a database the default is 1s."`
}

// DefaultInterval is the default of Buffer.Interval.
const DefaultInterval = 60 * time.Second

// Maintenance is the background care for one table.
type Maintenance struct {
	SnapshotAge   Duration `json:"snapshot_age" default:"24h" min:"1m" max:"876000h" example:"24h" doc:"Snapshots older than this expire: time travel reaches no further back."`
	SnapshotCount int      `json:"snapshot_count" default:"20" min:"1" max:"100000" example:"20" doc:"The newest snapshots that stay whatever their age."`
	Compact       bool     `json:"compact" default:"true" example:"true" doc:"Merge small files."`
	FileSize      ByteSize `json:"file_size" default:"128MiB" min:"1MiB" max:"4GiB" example:"128MiB" doc:"The size that merging aims at."`
}
