package duck

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tarn-data/tarn"
)

// Options says how much one DuckDB instance may use and reach. The zero value is a small instance
// that reaches nothing outside its own memory.
type Options struct {
	MemoryBytes int64 // bound on DuckDB's buffers; 0 = 512 MiB
	Threads     int   // worker threads; 0 = one per CPU
	// TempDir takes what does not fit into MemoryBytes, at most TempBytes (0 = 8 × MemoryBytes).
	// Without it nothing is spilled, and a query over MemoryBytes fails with tarn.CodeTooLarge.
	TempDir   string
	TempBytes int64

	// AllowedDirs are the folders (or URL prefixes) files may be read from and written to. Nil
	// means none. There is never access to the network, to extensions, or to any other file.
	AllowedDirs []string

	MaxConns           int  // connections open at once; 0 = 64; over it callers wait
	Unordered          bool // rows of an unordered SELECT or COPY may leave in any order: less memory
	CacheMetadata      bool // keep Parquet footers in memory: for files that never change
	PlanOnly           bool // for instances whose tables are empty stubs: nothing is concluded from what they hold
	MaxOpenPartitions  int  // Copy with PartitionBy: files written at once; 0 = 100
	PartitionFlushRows int  // Copy with PartitionBy: rows a thread gathers before writing; 0 = DuckDB's 524,288

	Logger *slog.Logger // nil discards

	reach []string // see DB.Reach
}

// Validate returns what is wrong with o, or nil.
func (o Options) Validate() error {
	bad := func(format string, a ...any) error {
		return &tarn.Error{Code: tarn.CodeInvalid, Detail: fmt.Sprintf(format, a...)}
	}
	switch {
	case o.MemoryBytes < 0 || o.MemoryBytes > 0 && o.MemoryBytes < 16<<20:
		return bad("the DuckDB memory of %d bytes is under 16 MiB", o.MemoryBytes)
	case o.Threads < 0 || o.MaxConns < 0 || o.TempBytes < 0 || o.MaxOpenPartitions < 0 || o.PartitionFlushRows < 0:
		return bad("DuckDB options must not be negative")
	}
	for _, d := range slices.Concat(o.AllowedDirs, o.reach) {
		if !strings.Contains(d, "://") && !filepath.IsAbs(d) {
			return bad("the allowed folder %q is not absolute", d)
		}
	}
	return nil
}

func (o Options) withDefaults() Options {
	if o.MemoryBytes == 0 {
		o.MemoryBytes = 512 << 20
	}
	if o.TempBytes == 0 {
		o.TempBytes = 8 * o.MemoryBytes
	}
	if o.MaxConns == 0 {
		o.MaxConns = 64
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// notForPlanning are the optimizers that conclude from a table's contents or statistics, and those
// that only matter to an execution. What stays simplifies expressions and moves filters to scans.
const notForPlanning = "statistics_propagation,compressed_materialization,column_lifetime,build_side_probe_side," +
	"join_filter_pushdown,late_materialization,top_n,top_n_window_elimination,row_group_pruner,join_order," +
	"common_subexpressions,common_aggregate,limit_pushdown,duplicate_groups,reorder_filter,sampling_pushdown,unused_columns"

// settings returns the statements that configure a fresh instance, the locking one last. What is
// set here can not be changed by any later statement.
func (o Options) settings() []string {
	s := []string{
		fmt.Sprintf("SET memory_limit='%dB'", o.MemoryBytes),
		"SET TimeZone='UTC'",
		"SET autoinstall_known_extensions=false",
		"SET autoload_known_extensions=false",
		"SET allow_community_extensions=false",
		"SET allow_persistent_secrets=false",
		"SET enable_progress_bar=false",
	}
	if o.Threads > 0 {
		s = append(s, fmt.Sprintf("SET threads=%d", o.Threads))
	}
	if o.TempDir != "" {
		s = append(s, "SET temp_directory="+tarn.QuoteLiteral(o.TempDir),
			fmt.Sprintf("SET max_temp_directory_size='%dB'", o.TempBytes))
	} else {
		s = append(s, "SET temp_directory=''")
	}
	if o.Unordered {
		s = append(s, "SET preserve_insertion_order=false")
	}
	if o.CacheMetadata {
		s = append(s, "SET parquet_metadata_cache=true")
		if len(o.reach) == 0 { // what others write may change
			s = append(s, "SET validate_external_file_cache='NO_VALIDATION'")
		}
	}
	if o.MaxOpenPartitions > 0 {
		s = append(s, fmt.Sprintf("SET partitioned_write_max_open_files=%d", o.MaxOpenPartitions))
	}
	if o.PartitionFlushRows > 0 {
		s = append(s, fmt.Sprintf("SET partitioned_write_flush_threshold=%d", o.PartitionFlushRows))
	}
	if o.PlanOnly {
		s = append(s, "SET disabled_optimizers="+tarn.QuoteLiteral(notForPlanning))
	}
	if allowed := slices.Concat(o.AllowedDirs, o.reach); len(allowed) > 0 {
		dirs := make([]string, len(allowed))
		for i, d := range allowed {
			dirs[i] = tarn.QuoteLiteral(strings.TrimSuffix(d, string(os.PathSeparator)) + "/")
		}
		s = append(s, "SET allowed_directories=["+strings.Join(dirs, ", ")+"]")
	}
	return append(s, "SET enable_external_access=false", "SET lock_configuration=true")
}
