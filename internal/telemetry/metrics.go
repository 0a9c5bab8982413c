package telemetry

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// Metrics holds every metric Tarn exports. All fields are safe for concurrent use.
//
// The parts of the hot path take the With…'d child once (see Ingest) instead of looking labels up
// per request.
type Metrics struct {
	// Doors.
	IngestRequests  *prometheus.CounterVec   // stream, outcome: "ok" or a tarn.Code
	IngestRecords   *prometheus.CounterVec   // stream: records acknowledged
	IngestRejected  *prometheus.CounterVec   // stream: records answered as rejected
	IngestBytes     *prometheus.CounterVec   // stream: body bytes acknowledged, after decompression
	IngestSeconds   *prometheus.HistogramVec // stream: first byte of the body to the answer
	IngestBodyBytes prometheus.Gauge         // bytes held by bodies in flight (bounded by I8)
	IngestRefusing  prometheus.Gauge         // 1 while records are refused because they could not be kept
	DiskFreeBytes   prometheus.Gauge         // of the data folder

	// Streams.
	StreamBatchRecords *prometheus.HistogramVec // stream: records of one durable message
	StreamBatchBytes   *prometheus.HistogramVec // stream: bytes of one durable message
	StreamFsyncSeconds *prometheus.HistogramVec // stream: publish to durable acknowledgement
	StreamBytes        *prometheus.GaugeVec     // stream, shard: bytes retained

	// Deliveries and tables.
	DeliveryLagRecords *prometheus.GaugeVec   // table, stream: records accepted and not yet committed
	DeliveryLagSeconds *prometheus.GaugeVec   // table, stream: age of the oldest of them
	DeliveryRecords    *prometheus.CounterVec // table: records read from streams and committed
	DeliveryRows       *prometheus.CounterVec // table: rows committed

	RawRecords         *prometheus.CounterVec   // stream: records in registered raw objects
	RawBytes           *prometheus.CounterVec   // stream: bytes of the objects
	RawLost            *prometheus.CounterVec   // stream, form: records that were gone before they were backed up
	RawFlushSeconds    *prometheus.HistogramVec // stream
	FailedRecords      *prometheus.CounterVec   // pipeline, stage
	TailRows           *prometheus.GaugeVec     // table: rows visible to SQL and not yet committed
	FlushSeconds       *prometheus.HistogramVec // table: staged rows to durable data files
	CommitSeconds      *prometheus.HistogramVec // table: metadata and positions in one transaction
	MaintenanceSeconds *prometheus.HistogramVec // table, task

	// Functions.
	FunctionInvocations *prometheus.CounterVec   // function, outcome: ok, error, timeout, crash or canceled
	FunctionSeconds     *prometheus.HistogramVec // function: of the answered ones, without waiting for a worker
	FunctionColdStarts  *prometheus.CounterVec   // function
	FunctionColdSeconds *prometheus.HistogramVec // function: process start to its first request for work
	FunctionWorkers     *prometheus.GaugeVec     // function, state: "busy" or "idle"
	SourceRuns          *prometheus.CounterVec   // pipeline, outcome: "ok" or a tarn.Code
	SourceRecords       *prometheus.CounterVec   // pipeline: records appended by runs

	// Extracts and twins. What extracts deliver is among the deliveries.
	ExtractLate         *prometheus.CounterVec // extract, outcome: late records, "left_out" or "failed"
	ExtractWindowBytes  *prometheus.GaugeVec   // extract: records kept for open windows, on the disk
	ExtractWindowedRows *prometheus.GaugeVec   // extract: how many those are
	TwinValues          *prometheus.GaugeVec   // twin: values in memory
	TwinUpdates         *prometheus.CounterVec // twin, outcome: "applied", "old" or "rejected"
	TwinWatchers        *prometheus.GaugeVec   // twin: connections that watch its changes
	TwinMemoryBytes     prometheus.Gauge       // of all values in memory

	// Queries.
	QuerySeconds *prometheus.HistogramVec // outcome: "ok" or a tarn.Code
	QueryRows    prometheus.Counter
	DuckDBBytes  *prometheus.GaugeVec // instance: memory in use as DuckDB counts it

	// The HTTP shell.
	HTTPRequests *prometheus.CounterVec   // route, method, status
	HTTPSeconds  *prometheus.HistogramVec // route
}

// Bucket bounds: latencies from 0.5 ms to 16 s, counts and sizes by powers of four.
var (
	latency = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 16}
	counts  = prometheus.ExponentialBuckets(1, 4, 10)   // 1 … 262,144
	sizes   = prometheus.ExponentialBuckets(256, 4, 10) // 256 B … 64 MiB
)

// New registers all metrics of Tarn with reg and returns them. It panics when reg holds them
// already, which is a defect of the caller.
func New(reg prometheus.Registerer) *Metrics {
	f := factory{reg}
	return &Metrics{
		IngestRequests:  f.counters("ingest_requests_total", "Requests to the doors, by outcome.", "stream", "outcome"),
		IngestRecords:   f.counters("ingest_records_total", "Records acknowledged.", "stream"),
		IngestRejected:  f.counters("ingest_rejected_records_total", "Records answered as rejected.", "stream"),
		IngestBytes:     f.counters("ingest_bytes_total", "Body bytes acknowledged, after decompression.", "stream"),
		IngestSeconds:   f.histograms("ingest_seconds", "Time from the body's first byte to the answer.", latency, "stream"),
		IngestRefusing:  f.gauges("ingest_refusing", "1 while records are refused because they could not be kept.").With(nil),
		DiskFreeBytes:   f.gauges("disk_free_bytes", "Free space of the data folder's disk.").With(nil),
		IngestBodyBytes: f.gauges("ingest_inflight_body_bytes", "Bytes held by request bodies in flight.").With(nil),

		StreamBatchRecords: f.histograms("stream_batch_records", "Records of one durable stream message.", counts, "stream"),
		StreamBatchBytes:   f.histograms("stream_batch_bytes", "Bytes of one durable stream message.", sizes, "stream"),
		StreamFsyncSeconds: f.histograms("stream_fsync_seconds", "Time from publishing a stream message until it is durable.", latency, "stream"),
		StreamBytes:        f.gauges("stream_bytes", "Bytes a stream retains.", "stream", "shard"),

		DeliveryLagRecords: f.gauges("delivery_lag_records", "Records accepted and not yet committed to the table.", "table", "stream"),
		DeliveryLagSeconds: f.gauges("delivery_lag_seconds", "Age of the oldest record not yet committed to the table.", "table", "stream"),
		DeliveryRecords:    f.counters("delivery_records_total", "Stream records accounted for by table commits.", "table"),
		DeliveryRows:       f.counters("delivery_rows_total", "Rows committed to tables.", "table"),

		RawRecords:         f.counters("raw_records_total", "Records backed up in the zone raw.", "stream"),
		RawBytes:           f.counters("raw_bytes_total", "Bytes of raw objects, compressed.", "stream"),
		RawLost:            f.counters("raw_lost_records_total", "Records that expired or were damaged before they were backed up.", "stream", "form"),
		RawFlushSeconds:    f.histograms("raw_flush_seconds", "Time to make raw objects durable and register them.", latency, "stream"),
		FailedRecords:      f.counters("failed_records_total", "Records kept as failed, by stage.", "pipeline", "stage"),
		TailRows:           f.gauges("tail_rows", "Rows visible to SQL and not yet committed.", "table"),
		FlushSeconds:       f.histograms("flush_seconds", "Time to turn staged rows into durable data files.", latency, "table"),
		CommitSeconds:      f.histograms("commit_seconds", "Time of one table commit.", latency, "table"),
		MaintenanceSeconds: f.histograms("maintenance_seconds", "Time of one maintenance task.", latency, "table", "task"),

		FunctionInvocations: f.counters("function_invocations_total", "Invocations of functions that ended, by outcome.", "function", "outcome"),
		FunctionSeconds:     f.histograms("function_seconds", "Time of answered invocations, without waiting for a worker.", latency, "function"),
		FunctionColdStarts:  f.counters("function_cold_starts_total", "Workers that got to their first request for work.", "function"),
		FunctionColdSeconds: f.histograms("function_cold_start_seconds", "Time from starting a worker to its first request for work.", latency, "function"),
		FunctionWorkers:     f.gauges("function_workers", "Worker processes, by what they do.", "function", "state"),
		SourceRuns:          f.counters("source_runs_total", "Runs of source functions that ended, by outcome.", "pipeline", "outcome"),
		SourceRecords:       f.counters("source_records_total", "Records that runs of source functions appended.", "pipeline"),

		ExtractLate:         f.counters("extract_late_records_total", "Records that came too late for their windows, by what became of them.", "extract", "outcome"),
		ExtractWindowBytes:  f.gauges("extract_window_bytes", "Disk space of the records that are kept for open windows.", "extract"),
		ExtractWindowedRows: f.gauges("extract_window_records", "Records that are kept for open windows.", "extract"),
		TwinValues:          f.gauges("twin_values", "Values of a twin in memory.", "twin"),
		TwinUpdates:         f.counters("twin_updates_total", "Updates of a twin: applied, old (not newer than what it had) or rejected.", "twin", "outcome"),
		TwinWatchers:        f.gauges("twin_watchers", "Connections that watch the changes of a twin.", "twin"),
		TwinMemoryBytes:     f.gauges("twin_memory_bytes", "Memory of the values of all twins.").With(nil),

		QuerySeconds: f.histograms("query_seconds", "Time of SQL queries, by outcome.", latency, "outcome"),
		QueryRows:    f.counters("query_rows_total", "Rows sent to SQL clients.").With(nil),
		DuckDBBytes:  f.gauges("duckdb_memory_bytes", "Memory in use as DuckDB counts it.", "instance"),

		HTTPRequests: f.counters("http_requests_total", "HTTP requests, by route pattern and status.", "route", "method", "status"),
		HTTPSeconds:  f.histograms("http_request_seconds", "Time of HTTP requests, by route pattern.", latency, "route"),
	}
}

// NewRegistry returns a registry with the collectors of the Go runtime and of the process, ready for New.
func NewRegistry() *prometheus.Registry {
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return reg
}

// Ingest holds the children of one stream, so that a door observes a request without label lookups.
type Ingest struct {
	m       *Metrics
	stream  string
	ok      prometheus.Counter
	records prometheus.Counter
	reject  prometheus.Counter
	bytes   prometheus.Counter
	seconds prometheus.Observer
}

// Ingest returns the observer of one stream. Call it once per stream, not per request.
func (m *Metrics) Ingest(stream string) *Ingest {
	return &Ingest{
		m: m, stream: stream,
		ok:      m.IngestRequests.WithLabelValues(stream, "ok"),
		records: m.IngestRecords.WithLabelValues(stream),
		reject:  m.IngestRejected.WithLabelValues(stream),
		bytes:   m.IngestBytes.WithLabelValues(stream),
		seconds: m.IngestSeconds.WithLabelValues(stream),
	}
}

// Accepted counts one acknowledged request.
func (i *Ingest) Accepted(records, rejected, bodyBytes int, took time.Duration) {
	i.ok.Inc()
	i.records.Add(float64(records))
	if rejected > 0 {
		i.reject.Add(float64(rejected))
	}
	i.bytes.Add(float64(bodyBytes))
	i.seconds.Observe(took.Seconds())
}

// Refused counts one request that was not acknowledged; outcome is its code.
func (i *Ingest) Refused(outcome string, rejected int) {
	i.m.IngestRequests.WithLabelValues(i.stream, outcome).Inc()
	if rejected > 0 {
		i.reject.Add(float64(rejected))
	}
}

type factory struct{ reg prometheus.Registerer }

const namespace = "tarn"

func (f factory) counters(name, help string, labels ...string) *prometheus.CounterVec {
	v := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels)
	f.reg.MustRegister(v)
	return v
}

func (f factory) gauges(name, help string, labels ...string) *prometheus.GaugeVec {
	v := prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help}, labels)
	f.reg.MustRegister(v)
	return v
}

func (f factory) histograms(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	v := prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: namespace, Name: name, Help: help, Buckets: buckets}, labels)
	f.reg.MustRegister(v)
	return v
}
