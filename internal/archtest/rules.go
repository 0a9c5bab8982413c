package archtest

// floors lists the packages from the top down. An entry covers its subpackages. A package imports
// only from lower floors, and packages on one floor do not import each other; subpackages of one
// entry may. A new package is placed here on the day it appears.
var floors = [][]string{
	{"cmd/tarn"},
	{"bench"}, // called by tarn bench; drives the binary from outside
	{"engine"},
	{"server", "console", "ingest"},
	{"extract"}, // continuous SQL stands on deliveries and writes into twins, see docs/adr/0014
	{"delivery", "query", "twin", "catalog", "workflow"},
	{"stream", "function", "table", "govern", "duck"},
	{"lake", "metadb", "record", "project", "examples", "internal/telemetry", "internal/fleet", "internal/child"},
	{root},
}

// testOnly lists packages that exist for tests. They may import anything; nothing may import them.
var testOnly = []string{"internal/archtest", "internal/crashtest", "internal/icebergtest", "internal/enginetest"}

// root is the name of the module's root package in these rules.
const root = "."

// owner says which packages, with their subpackages, may import a dependency. Tests are exempt:
// they may look at what another package wrote with the library that wrote it.
type owner struct {
	importPath string // the dependency; packages below it count too
	only       []string
	why        string
}

var owners = []owner{
	{"github.com/nats-io", []string{"stream/jetstream"}, "the log contract lives in package stream, and an engine behind it can be replaced only while nothing else knows NATS"},
	{"github.com/duckdb", []string{"duck"}, "DuckDB is C++ in our process; its memory limits, sandbox and restarts are kept in one place, so that queries can move to worker processes"},
	{"github.com/apache/iceberg-go", []string{"table"}, "a table commit is one transaction with its positions (I2), which holds only while one package writes Iceberg metadata"},
	{"modernc.org/sqlite", []string{"metadb", "delivery/database"}, "the metadata database has one set of SQL for SQLite and PostgreSQL, and databases of users are reached with their passwords, only behind these two packages"},
	{"github.com/jackc/pgx", []string{"metadb", "delivery/database"}, "the metadata database has one set of SQL for SQLite and PostgreSQL, and databases of users are reached with their passwords, only behind these two packages"},
	{"github.com/goccy/go-yaml", []string{"project"}, "every fault in a project file is reported with its line, in one voice"},
	{"github.com/spf13/cobra", []string{"cmd/tarn"}, "flags and usage text belong to the command line; packages take Options"},
	{"github.com/danielgtaylor/huma", []string{"server"}, "the HTTP interface and its OpenAPI description are made in one place"},
}

// badNames are package names that say nothing about what is inside.
var badNames = []string{"util", "utils", "common", "helper", "helpers", "manager", "misc", "shared", "base"}

// maxLines is the hard limit of a source file; 400 is the aim.
const maxLines = 800
