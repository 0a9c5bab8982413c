package project

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	v1 "github.com/tarn-data/tarn/project/v1"
)

// Action is what applying a project does to one thing.
type Action string

// The actions.
const (
	Create Action = "create"
	Update Action = "change"
	Leave  Action = "leave"
	Remove Action = "remove" // from the project; data is never deleted by it
)

// Change is what applying a project does to one stream, pipeline or table, or to the settings.
type Change struct {
	Action Action        `json:"action"`
	Kind   string        `json:"kind"` // settings, stream, pipeline or table
	Name   string        `json:"name"`
	Fields []FieldChange `json:"fields,omitempty"` // of a change
	Note   string        `json:"note,omitempty"`   // what a removal means
	Unsafe bool          `json:"unsafe"`           // it, or one of its fields, can lose or strand data
}

// FieldChange is one property that differs.
type FieldChange struct {
	Path   string `json:"path"`
	From   string `json:"from,omitempty"` // empty when it was not set
	To     string `json:"to,omitempty"`   // empty when it is not set any more
	Note   string `json:"note,omitempty"`
	Unsafe bool   `json:"unsafe"`
}

// Changes is a plan, ordered by kind and name.
type Changes []Change

// Plan compares the project that is applied, nil for none, with the one to apply. Addresses of
// engines are compared and shown without their passwords (I7).
func Plan(old, new *Project) Changes {
	if old == nil {
		old = &Project{}
	}
	var c Changes
	if old.Name == "" {
		c = append(c, Change{Action: Create, Kind: "settings", Name: new.Name})
	} else {
		c.compare("settings", new.Name, settings(old), settings(new))
	}
	olds, news := parts(old), parts(new)
	for _, kind := range []string{"stream", "pipeline", "table"} {
		for _, name := range unionOfNames(olds[kind], news[kind]) {
			before, had := olds[kind][name]
			after, has := news[kind][name]
			switch {
			case !had:
				c = append(c, Change{Action: Create, Kind: kind, Name: name})
			case !has:
				c = append(c, Change{Action: Remove, Kind: kind, Name: name, Note: removal[kind], Unsafe: kind != "pipeline"})
			default:
				c.compare(kind, name, before, after)
			}
		}
	}
	return c
}

var removal = map[string]string{
	"stream":   "its door closes and its undelivered records are not delivered; the data stays on disk",
	"pipeline": "",
	"table":    "nothing is delivered to it any more; its data stays",
}

// property is one setting of a thing, in text.
type property struct{ path, value string }

// compare adds a change, or leave, for a thing that stands in both projects.
func (c *Changes) compare(kind, name string, before, after []property) {
	ch := Change{Action: Leave, Kind: kind, Name: name}
	value := func(in []property, path string) (string, bool) {
		i := slices.IndexFunc(in, func(p property) bool { return p.path == path })
		if i < 0 {
			return "", false
		}
		return in[i].value, true
	}
	var paths []string
	for _, p := range append(slices.Clone(after), before...) {
		if !slices.Contains(paths, p.path) {
			paths = append(paths, p.path)
		}
	}
	declaredBefore, _ := value(before, "schema")
	declaredAfter, _ := value(after, "schema")
	for _, path := range paths {
		from, had := value(before, path)
		to, has := value(after, path)
		if from == to && had == has || strings.HasPrefix(path, "schema.") && declaredBefore != declaredAfter {
			continue // an inferred schema has no columns to compare with
		}
		f := FieldChange{Path: path, From: from, To: to}
		f.Note, f.Unsafe = judge(kind, path, from, to, had, has)
		ch.Action, ch.Unsafe = Update, ch.Unsafe || f.Unsafe
		ch.Fields = append(ch.Fields, f)
	}
	*c = append(*c, ch)
}

// parts returns the properties of every stream, pipeline and table by kind and name.
func parts(p *Project) map[string]map[string][]property {
	out := map[string]map[string][]property{"stream": {}, "pipeline": {}, "table": {}}
	for i := range p.Pipelines {
		pl := &p.Pipelines[i]
		out["stream"][pl.Stream.Name] = streamProperties(pl)
		out["pipeline"][pl.Name] = pipelineProperties(pl)
		for _, d := range pl.Deliveries {
			out["table"][d.Table] = tableProperties(pl, d)
		}
	}
	return out
}

func settings(p *Project) []property {
	m := p.toModel()
	return []property{
		{"name", p.Name}, {"engines.stream", p.Engines.Stream.String()}, {"engines.metadata", p.Engines.Metadata.String()},
		{"engines.lake", p.Engines.Lake.String()}, {"server.listen", p.Server.Listen},
		{"limits.record", m.Limits.Record.String()}, {"limits.body", m.Limits.Body.String()}, {"limits.memory", m.Limits.Memory.String()},
		{"limits.query_memory", m.Limits.QueryMemory.String()}, {"limits.query_timeout", m.Limits.QueryTimeout.String()},
	}
}

func streamProperties(p *Pipeline) []property {
	props := []property{{"records", string(p.Records)}, {"shards", fmt.Sprint(p.Stream.Shards)}, {"retention", v1.Duration(p.Stream.Retention).String()}}
	if p.Stream.MaxBytes > 0 {
		props = append(props, property{"max_bytes", v1.ByteSize(p.Stream.MaxBytes).String()})
	}
	if p.Stream.PartitionKey != "" {
		props = append(props, property{"partition_key", p.Stream.PartitionKey})
	}
	return props
}

func pipelineProperties(p *Pipeline) []property {
	props := []property{{"stream", p.Stream.Name}}
	if p.Owner != "" {
		props = append(props, property{"owner", p.Owner})
	}
	if p.Description != "" {
		props = append(props, property{"description", p.Description})
	}
	if p.Schema == nil {
		props = append(props, property{"schema", "inferred"})
	} else {
		props = append(props, property{"schema", "declared"})
		for _, f := range p.Schema.Fields {
			value := f.Type.SQL()
			if f.Required {
				value += " required"
			}
			props = append(props, property{"schema." + f.Name, value})
		}
	}
	for i, t := range p.Transforms {
		props = append(props, property{fmt.Sprintf("transform[%d].sql", i), t.SQL})
	}
	var tables []string
	for _, d := range p.Deliveries {
		tables = append(tables, d.Table)
	}
	return append(props, property{"deliver", strings.Join(tables, ", ")})
}

func tableProperties(p *Pipeline, d Delivery) []property {
	props := []property{{"pipeline", p.Name}, {"stream", p.Stream.Name}}
	if len(d.PartitionBy) > 0 {
		var fields []string
		for _, f := range d.PartitionBy {
			fields = append(fields, f.String())
		}
		props = append(props, property{"partition_by", strings.Join(fields, ", ")})
	}
	return append(props,
		property{"buffer.size", v1.ByteSize(d.BufferBytes).String()}, property{"buffer.interval", v1.Duration(d.BufferInterval).String()},
		property{"compression", d.Compression}, property{"on_schema_change", string(d.OnSchemaChange)},
		property{"maintenance.snapshot_age", v1.Duration(d.SnapshotAge).String()}, property{"maintenance.snapshot_count", fmt.Sprint(d.SnapshotCount)},
		property{"maintenance.compact", fmt.Sprint(d.Compact)}, property{"maintenance.file_size", v1.ByteSize(d.FileBytes).String()})
}

func unionOfNames(a, b map[string][]property) []string {
	var names []string
	for _, m := range []map[string][]property{a, b} {
		for name := range m {
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return names
}

// Unsafe returns the changes that can lose or strand data.
func (c Changes) Unsafe() Changes {
	return slices.DeleteFunc(slices.Clone(c), func(ch Change) bool { return !ch.Unsafe })
}

// Count returns how many changes have that action.
func (c Changes) Count(a Action) int {
	n := 0
	for _, ch := range c {
		if ch.Action == a {
			n++
		}
	}
	return n
}

// JSON returns {"changes": […]}, indented, for scripts.
func (c Changes) JSON() []byte {
	if c == nil {
		c = Changes{}
	}
	b, err := json.MarshalIndent(map[string]any{"changes": []Change(c)}, "", "  ")
	if err != nil {
		panic(err) // plain strings and booleans always marshal
	}
	return append(b, '\n')
}
