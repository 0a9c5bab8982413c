package duck

/*
// The program offers no symbols to libraries: the tables of them are megabytes that every start reads.
#cgo linux LDFLAGS: -Wl,--no-export-dynamic
#include <stdlib.h>
#if defined(__GLIBC__)
#include <malloc.h>
static void limit_arenas(int n) { mallopt(M_ARENA_MAX, n); }
static void trim(void) { malloc_trim(0); }
#else
static void limit_arenas(int n) {}
static void trim(void) {}
#endif
*/
import "C"

import "runtime"

// DuckDB takes what it does not count in its memory limit, such as the state of Parquet writers, from
// the C library, which keeps freed memory in up to eight arenas for each CPU. The functions here bound
// that (I8). They act on the whole process, and do nothing where the C library is not glibc.
// Source: mallopt(3), malloc_trim(3).

// LimitArenas makes the C library keep four arenas for each thread of Go that may run, half of its
// default; with one each, conversions that wait for them run at three quarters of their speed. It has
// no effect on arenas that exist: call it before the first instance is opened.
func LimitArenas() { C.limit_arenas(C.int(4 * runtime.GOMAXPROCS(0))) }

// TrimMemory gives memory that was freed back to the operating system. It takes milliseconds.
func TrimMemory() { C.trim() }
