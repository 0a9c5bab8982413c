package catalog

import "time"

// Report says what a crawl found and did. Its JSON form is part of the interface.
type Report struct {
	Crawler   string        `json:"crawler"`
	Path      string        `json:"path"`
	DryRun    bool          `json:"dry_run"`
	StartedAt time.Time     `json:"started_at"`
	Seconds   float64       `json:"seconds"`
	Files     FileCounts    `json:"files"`
	Tables    []TableReport `json:"tables"`
	// Skipped names files that are in no table, with the reason; at most 1,000, and never hidden ones.
	Skipped []SkippedFile `json:"skipped"`
}

// FileCounts are the numbers of files of a crawl.
type FileCounts struct {
	Seen      int            `json:"seen"`      // in the folder, without hidden ones
	Opened    int            `json:"opened"`    // looked into
	Unchanged int            `json:"unchanged"` // as at the last crawl, and not opened
	Added     int            `json:"added"`
	Changed   int            `json:"changed"`
	Gone      int            `json:"gone"` // since the last crawl
	Skipped   map[Reason]int `json:"skipped,omitempty"`
}

// What a crawl did to a table.
const (
	Created   = "created"
	Changed   = "changed"
	Unchanged = "unchanged"
	Dropped   = "dropped"
)

// TableReport is one table of a crawl.
type TableReport struct {
	Name          string         `json:"name"`
	Action        string         `json:"action"`
	Location      string         `json:"location"`
	Format        string         `json:"format"`
	Folders       int            `json:"folders"` // that files lie in
	Files         int            `json:"files"`
	Missing       int            `json:"missing,omitempty"` // files that are listed and gone
	Bytes         int64          `json:"bytes"`
	Rows          *int64         `json:"rows,omitempty"` // when known of every file
	PartitionBy   []string       `json:"partition_by,omitempty"`
	Partitions    int            `json:"partitions,omitempty"`
	SchemaVersion int            `json:"schema_version"`
	Columns       []ReportColumn `json:"columns"`
	Why           string         `json:"why"`               // these files are one table
	Changes       []string       `json:"changes,omitempty"` // of the schema, and why
}

// ReportColumn is one column of a table of a report.
type ReportColumn struct {
	Name string `json:"name"`
	Type string `json:"type"`
}

// SkippedFile is a file that is in no table.
type SkippedFile struct {
	Path   string `json:"path"` // relative to the crawled folder
	Reason Reason `json:"reason"`
	Detail string `json:"detail"`
}

// Reason says why a file is in no table.
type Reason string

// The reasons.
const (
	Hidden      Reason = "hidden"      // its name, or a folder's, begins with . or _, or ends with .crc
	Empty       Reason = "empty"       // no bytes
	Settling    Reason = "settling"    // changed too recently to be whole; the next crawl takes it
	Unfinished  Reason = "unfinished"  // named as writers name what they have not finished, or cut off
	Link        Reason = "link"        // a link that leads out of the folder, or to a folder
	Special     Reason = "special"     // a pipe, socket or device
	Unreadable  Reason = "unreadable"  // the operating system refuses it
	Unsupported Reason = "unsupported" // of a format that is not read
	Malformed   Reason = "malformed"   // of a format that is read, and broken
	Encoding    Reason = "encoding"    // text in an encoding that is not read
	TooLarge    Reason = "too_large"   // needs more memory than a crawl may use
	Foreign     Reason = "foreign"     // of a Delta or Iceberg table, whose files are not all its data
	Mismatch    Reason = "mismatch"    // does not fit the schema, which on_schema_change: ignore keeps
)
