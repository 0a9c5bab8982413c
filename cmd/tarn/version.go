package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

func (a *app) versionCommand() *cobra.Command {
	return a.jsonFlag(&cobra.Command{
		Use:     "version",
		Short:   "Print the version of Tarn and of its engines",
		Example: "  tarn version\n  tarn version --json",
		Args:    args(0, 0, ""),
		RunE: func(c *cobra.Command, _ []string) error {
			engines := engineVersions()
			if a.json {
				return a.printJSON(map[string]any{"version": version, "go": runtime.Version(), "os": runtime.GOOS, "arch": runtime.GOARCH, "engines": engines})
			}
			fmt.Fprintf(a.out, "tarn %s (%s %s/%s)\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
			a.pairs("stream", "NATS JetStream "+engines["nats-server"], "tables", "iceberg-go "+engines["iceberg-go"], "query", "DuckDB by duckdb-go-bindings "+engines["duckdb-go-bindings"])
			return nil
		},
	})
}

// engineVersions returns the versions of the modules that do the heavy work.
func engineVersions() map[string]string {
	names := map[string]string{
		"github.com/nats-io/nats-server/v2":    "nats-server",
		"github.com/apache/iceberg-go":         "iceberg-go",
		"github.com/duckdb/duckdb-go-bindings": "duckdb-go-bindings",
	}
	found := map[string]string{}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return found
	}
	for _, m := range info.Deps {
		if name, ok := names[m.Path]; ok {
			found[name] = m.Version
		}
	}
	return found
}
