package server

import "time"

// FunctionDoc describes one function. Counts are of the version that runs, since it started.
type FunctionDoc struct {
	Name        string              `json:"name"`
	Runtime     string              `json:"runtime" enum:"provided,python,node"`
	Handler     string              `json:"handler,omitempty"`
	Version     string              `json:"version" doc:"Of the code and the settings in the project"`
	State       string              `json:"state" enum:"new,starting,ready,backing off,draining,closed,held back" doc:"held back: no version of it runs; fault says why, and its pipelines wait"`
	Fault       string              `json:"fault,omitempty" doc:"Why the version in the project does not run; an older one may"`
	Workers     int                 `json:"workers" doc:"Processes"`
	Busy        int                 `json:"busy" doc:"Of them with an invocation"`
	Waiting     int                 `json:"waiting" doc:"Invocations without a worker"`
	Invocations int64               `json:"invocations" doc:"Ended ones"`
	Errors      int64               `json:"errors" doc:"Of them answered with an error, or ended by the end of the process"`
	Timeouts    int64               `json:"timeouts" doc:"Of them killed for their time"`
	Crashes     int64               `json:"crashes" doc:"Workers that ended by themselves or over a limit"`
	InitErrors  int64               `json:"init_errors" doc:"Workers that did not get to their first invocation"`
	ColdStarts  int64               `json:"cold_starts"`
	ColdStartMS float64             `json:"cold_start_ms" doc:"What the last one took"`
	P50MS       float64             `json:"p50_ms" doc:"Of the last 1024 answered invocations, without waiting for a worker"`
	P99MS       float64             `json:"p99_ms"`
	LastError   string              `json:"last_error,omitempty" doc:"Of the last worker that ended badly"`
	RetryAt     *time.Time          `json:"retry_at,omitempty" doc:"Backing off: the next attempt to start a worker"`
	Isolation   IsolationDoc        `json:"isolation"`
	Settings    FunctionSettingsDoc `json:"settings"`
	Pipelines   []FunctionUseDoc    `json:"pipelines" doc:"Which use it"`
}

// IsolationDoc says what stands between a function and the machine.
type IsolationDoc struct {
	Summary  string   `json:"summary" enum:"complete,partial,off,none" doc:"off: its settings say so; none: it does not run"`
	Isolated []string `json:"isolated" doc:"What it cannot see or touch, and by which means"`
	Missing  []string `json:"missing" doc:"What this machine could not keep from it, and why"`
	Memory   string   `json:"memory,omitempty" doc:"How its memory is limited"`
}

// FunctionSettingsDoc are the settings of a function with their defaults. Secrets are named only (I7).
type FunctionSettingsDoc struct {
	Timeout      string            `json:"timeout" example:"1m0s"`
	MemoryBytes  int64             `json:"memory_bytes" doc:"Of one worker"`
	Concurrency  int               `json:"concurrency" doc:"Workers at most"`
	Network      bool              `json:"network"`
	Sandbox      string            `json:"sandbox" enum:"auto,required,off"`
	Retries      int               `json:"retries"`
	BatchRecords int               `json:"batch_records"`
	BatchBytes   int64             `json:"batch_bytes"`
	BatchWait    string            `json:"batch_wait" example:"100ms"`
	Environment  map[string]string `json:"environment,omitempty"`
	Secrets      []string          `json:"secrets,omitempty" doc:"Names of environment variables"`
}

// FunctionUseDoc is a pipeline that uses a function.
type FunctionUseDoc struct {
	Pipeline string `json:"pipeline"`
	As       string `json:"as" enum:"transform,source"`
}

// SourceDoc describes a function that brings records into a pipeline.
type SourceDoc struct {
	Function     string        `json:"function"`
	When         string        `json:"when" example:"*/5 * * * *" doc:"Its schedule in UTC, every and an interval, or continuous"`
	CatchUp      string        `json:"catch_up,omitempty" enum:"one,all,none"`
	State        string        `json:"state" enum:"waiting,running,retrying,paused,held back" doc:"held back: the function does not run; error says why"`
	Error        string        `json:"error,omitempty" doc:"Of the last attempt, when it failed and is to be repeated"`
	NextRun      *time.Time    `json:"next_run,omitempty"`
	Runs         int64         `json:"runs" doc:"Ever begun"`
	FailedRuns   int64         `json:"failed_runs"`
	SkippedSlots int64         `json:"skipped_slots" doc:"Missed, and passed over"`
	Records      int64         `json:"records" doc:"Appended by all runs"`
	LastRun      *SourceRunDoc `json:"last_run,omitempty" doc:"The last one that ended; system.runs has more"`
}

// SourceRunDoc is one run of a source function.
type SourceRunDoc struct {
	Run        int64      `json:"run"`
	Slot       time.Time  `json:"slot" doc:"When it was due"`
	State      string     `json:"state" enum:"running,answered,done,failed"`
	Attempts   int        `json:"attempts"`
	Records    int64      `json:"records" doc:"Appended to the stream"`
	Rejected   int64      `json:"rejected" doc:"Of the answer, for being no records"`
	Error      string     `json:"error,omitempty" doc:"Why it failed"`
	StartedAt  time.Time  `json:"started_at"`
	FinishedAt *time.Time `json:"finished_at,omitempty"`
}
