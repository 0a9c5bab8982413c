package main

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/cmd/tarn/internal/screen"
	"github.com/tarn-data/tarn/delivery/infer"
	"github.com/tarn-data/tarn/server"
)

func (a *app) tablesCommand() *cobra.Command {
	return group(&cobra.Command{
		Use:     "tables",
		Short:   "List, describe and maintain tables",
		Example: "  tarn tables ls\n  tarn tables compact curated.telemetry",
	},
		a.clientFlags(&cobra.Command{
			Use: "ls", Short: "List tables", Args: args(0, 0, ""),
			Example: "  tarn tables ls\n  tarn tables ls --json",
			RunE:    func(c *cobra.Command, _ []string) error { return a.tablesLs(c.Context()) },
		}),
		a.clientFlags(&cobra.Command{
			Use: "describe TABLE", Short: "Show one table: columns, partitions, snapshots, what was inferred", Args: args(1, 1, "the name of one table"),
			Example: "  tarn tables describe curated.telemetry",
			RunE:    func(c *cobra.Command, args []string) error { return a.tablesDescribe(c.Context(), args[0]) },
		}),
		a.maintainCommand("compact", "Rewrite small files as few large ones"),
		a.maintainCommand("expire", "Forget old snapshots and delete the files only they need"),
		a.maintainCommand("manifests", "Rewrite the lists of files as few large ones"),
		a.maintainCommand("orphans", "Delete old files that no snapshot names"),
	)
}

func (a *app) tablesLs(ctx context.Context) error {
	var doc struct{ Tables []server.TableDoc }
	if done, err := a.get(ctx, "/v1/tables", &doc); done || err != nil {
		return err
	}
	cols := []screen.Column{left("TABLE"), left("KIND"), right("ROWS"), right("IN TAIL"), right("FILES"), right("SIZE"), left("PARTITIONED BY"), left("UPDATED")}
	var rows [][]string
	for _, t := range doc.Tables {
		count := screen.Count(t.Rows)
		if t.External != nil && !t.External.RowsKnown {
			count = ""
		}
		rows = append(rows, []string{t.Name, t.Kind, count, screen.Count(t.TailRows), screen.Count(t.Files), screen.Bytes(t.Bytes), strings.Join(t.Partition, ", "), screen.Time(&t.UpdatedAt)})
	}
	return a.list(2, cols, rows, "no tables")
}

func (a *app) tablesDescribe(ctx context.Context, name string) error {
	var t server.TableDoc
	if done, err := a.get(ctx, "/v1/tables/"+url.PathEscape(name), &t); done || err != nil {
		return err
	}
	if t.External != nil {
		return a.describeExternal(t)
	}
	a.pairs("table", t.Name, "kind", t.Kind, "pipeline", t.Pipeline, "location", t.Location, "metadata", t.MetadataLocation,
		"partitioned by", strings.Join(t.Partition, ", "), "rows", screen.Count(t.Rows)+" committed, "+screen.Count(t.TailRows)+" in the hot tail",
		"files", screen.Count(t.Files)+", "+screen.Bytes(t.Bytes), "updated", screen.Time(&t.UpdatedAt))
	fmt.Fprintln(a.out)
	if err := a.columns(t); err != nil {
		return err
	}
	if len(t.Snapshots) > 0 {
		fmt.Fprintln(a.out)
		var rows [][]string
		for i, s := range t.Snapshots {
			if i == 10 {
				break
			}
			rows = append(rows, []string{s.ID, screen.Time(&s.At), s.Operation, s.Summary["added-records"], s.Summary["total-records"]})
		}
		cols := []screen.Column{right("SNAPSHOT"), left("AT"), left("OPERATION"), right("ADDED"), right("TOTAL")}
		if err := a.table(cols, rows, ""); err != nil {
			return err
		}
		if len(t.Snapshots) > 10 {
			fmt.Fprintf(a.out, "… and %s older; all of them: SELECT * FROM system.snapshots\n", screen.Count(len(t.Snapshots)-10))
		}
	}
	return nil
}

// columns prints the columns of a table, members of structs below them, with the reasons of inferred
// types. Notes about what has no column of its name come after.
func (a *app) columns(t server.TableDoc) error {
	why := map[string]string{}
	for _, n := range t.Inference {
		why[n.Column] = n.Why
	}
	l := columnList{why: why}
	for _, col := range t.Columns {
		typ, err := tarn.ParseType(col.Type)
		if err != nil {
			return err
		}
		null := ""
		if col.Required {
			null = "not null"
		}
		path := infer.Path{col.Name}
		if why[path.String()] == "" {
			why[path.String()] = col.Doc
		}
		if why[path.String()] == "" && len(t.Inference) > 0 && !strings.HasPrefix(col.Name, "_rest") { // no record has it
			why[path.String()] = "from the SQL of the pipeline"
		}
		l.add(strconv.Itoa(col.ID), path, 0, typ, null)
	}
	cols := []screen.Column{right("ID"), left("COLUMN"), left("TYPE"), left(""), left("WHY")}
	if err := a.table(cols, l.rows, "no columns yet: the schema comes with the first records"); err != nil {
		return err
	}
	for _, n := range t.Inference {
		if w := why[n.Column]; w != "" {
			fmt.Fprintf(a.out, "also seen: %s: %s\n", screen.Visible(n.Column), screen.Visible(w))
		}
	}
	return nil
}

// columnList collects rows of columns; reasons that are shown are taken out of why.
type columnList struct {
	why  map[string]string
	rows [][]string
}

func (l *columnList) add(id string, path infer.Path, depth int, t tarn.Type, null string) {
	shown, inner, within := t.SQL(), t, slices.Clip(path)
	for inner.Kind == tarn.List {
		within = append(within, "element")
		delete(l.why, within.String()) // said by the list
		inner = inner.Elem.Type
	}
	if inner.Kind == tarn.Struct {
		shown = strings.Replace(shown, inner.SQL(), "STRUCT", 1)
	}
	l.rows = append(l.rows, []string{id, strings.Repeat("  ", depth) + path[len(path)-1], shown, null, l.why[path.String()]})
	delete(l.why, path.String())
	for _, f := range inner.Fields {
		l.add("", append(slices.Clip(within), f.Name), depth+1, f.Type, "")
	}
}

func (a *app) maintainCommand(task, what string) *cobra.Command {
	return a.clientFlags(&cobra.Command{
		Use:     task + " TABLE...",
		Short:   what,
		Example: "  tarn tables " + task + " curated.telemetry",
		Args:    args(1, -1, "one or more tables"),
		RunE: func(c *cobra.Command, args []string) error {
			cl, err := a.client()
			if err != nil {
				return err
			}
			var all []server.MaintenanceDoc
			for _, name := range args {
				var doc struct{ Results []server.MaintenanceDoc }
				if err := cl.Post(c.Context(), "/v1/tables/"+url.PathEscape(name)+"/maintenance", map[string]any{"tasks": []string{task}}, &doc); err != nil {
					return err
				}
				all = append(all, doc.Results...)
			}
			if a.json {
				return a.printJSON(map[string]any{"results": all})
			}
			for _, r := range all {
				fmt.Fprintf(a.out, "%s: %s: %s (%.2f s)\n", r.Table, r.Task, screen.Visible(r.Detail), r.Seconds)
			}
			return nil
		},
	})
}
