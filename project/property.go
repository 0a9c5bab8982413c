package project

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	v1 "github.com/tarn-data/tarn/project/v1"
)

// parts returns the properties of everything in a project by kind and name.
func parts(p *Project) map[string]map[string][]property {
	out := map[string]map[string][]property{"function": {}, "stream": {}, "pipeline": {}, "table": {}, "delivery": {}, "crawler": {}, "twin": {}, "extract": {}}
	for i := range p.Crawlers {
		out["crawler"][p.Crawlers[i].Name] = crawlerProperties(&p.Crawlers[i])
	}
	for i := range p.Twins {
		out["twin"][p.Twins[i].Name] = twinProperties(&p.Twins[i])
	}
	for i := range p.Extracts {
		out["extract"][p.Extracts[i].Name] = extractProperties(&p.Extracts[i])
	}
	for _, s := range p.OwnStreams() {
		out["stream"][s.Name] = streamProperties(&Pipeline{Records: RecordsJSON, Stream: s})
	}
	for i := range p.Functions {
		out["function"][p.Functions[i].Name] = functionProperties(&p.Functions[i])
	}
	for i := range p.Pipelines {
		pl := &p.Pipelines[i]
		out["stream"][pl.Stream.Name] = streamProperties(pl)
		out["pipeline"][pl.Name] = pipelineProperties(p, pl)
		for _, d := range pl.Deliveries {
			if d.Table != "" {
				out["table"][d.Name] = append(deliveryProperties(pl, d), tableProperties(d)...)
			} else {
				out["delivery"][d.Name] = append(deliveryProperties(pl, d), databaseProperties(d)...)
			}
		}
	}
	return out
}

// optional is a property that stands in the list only where it is set.
func optional(path, value string) []property {
	if value == "" {
		return nil
	}
	return []property{{path, value}}
}

// onOff is a property that stands in the list only where it is on.
func onOff(path string, on bool) []property {
	if !on {
		return nil
	}
	return []property{{path, "true"}}
}

func settings(p *Project) []property {
	m := p.toModel()
	props := []property{
		{"name", p.Name}, {"engines.stream", p.Engines.Stream.String()}, {"engines.metadata", p.Engines.Metadata.String()},
		{"engines.lake", p.Engines.Lake.String()}, {"server.listen", p.Server.Listen},
		{"limits.record", m.Limits.Record.String()}, {"limits.body", m.Limits.Body.String()}, {"limits.memory", m.Limits.Memory.String()},
		{"limits.query_memory", m.Limits.QueryMemory.String()}, {"limits.query_timeout", m.Limits.QueryTimeout.String()},
	}
	props = append(props, authProperties(p.Auth)...)
	props = append(props, zoneProperties("zones.raw.", p.Zones.Raw)...)
	return append(props, zoneProperties("zones.cleaned.", p.Zones.Cleaned)...)
}

func zoneProperties(prefix string, z Zone) []property {
	var props []property
	if z.ExpireAfter > 0 {
		props = append(props, property{prefix + "expire_after", v1.Duration(z.ExpireAfter).String()})
	}
	if z.KeepVersions > 0 {
		props = append(props, property{prefix + "keep_versions", fmt.Sprint(z.KeepVersions)})
	}
	return props
}

func functionProperties(f *Function) []property {
	m := f.toModel()
	props := []property{{"version", shortVersion(f.Digest)}, {"runtime", string(f.Runtime)}}
	props = append(props, optional("handler", f.Handler)...)
	props = append(props,
		property{"timeout", m.Timeout.String()}, property{"memory", m.Memory.String()}, property{"retries", fmt.Sprint(f.Retries)},
		property{"batch.records", fmt.Sprint(f.Batch.Records)}, property{"batch.bytes", m.Batch.Bytes.String()}, property{"batch.wait", m.Batch.Wait.String()},
		property{"sandbox", string(f.Sandbox)}, property{"network", fmt.Sprint(f.Network)})
	if f.Concurrency > 0 {
		props = append(props, property{"concurrency", fmt.Sprint(f.Concurrency)})
	}
	for _, name := range slices.Sorted(maps.Keys(f.Environment)) {
		props = append(props, property{"environment." + name, f.Environment[name]})
	}
	return append(props, optional("secrets", strings.Join(f.Secrets, ", "))...)
}

// shortVersion returns as much of a digest as people compare.
func shortVersion(digest string) string { return digest[:min(12, len(digest))] }

// uses reports whether a pipeline invokes a function.
func (p *Project) uses(function string) bool {
	return slices.ContainsFunc(p.Pipelines, func(pl Pipeline) bool { return slices.Contains(pl.Functions(), function) })
}

func streamProperties(p *Pipeline) []property {
	props := []property{{"records", string(p.Records)}, {"shards", fmt.Sprint(p.Stream.Shards)}, {"retention", v1.Duration(p.Stream.Retention).String()}}
	if p.Stream.MaxBytes > 0 {
		props = append(props, property{"max_bytes", v1.ByteSize(p.Stream.MaxBytes).String()})
	}
	props = append(props, optional("partition_key", p.Stream.PartitionKey)...)
	return append(props, onOff("raw_backup", p.RawBackup)...)
}

func pipelineProperties(project *Project, p *Pipeline) []property {
	props := append([]property{{"stream", p.Stream.Name}}, sourceProperties(p.Source)...)
	props = append(props, optional("owner", p.Owner)...)
	props = append(props, optional("description", p.Description)...)
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
		props = append(props, property{fmt.Sprintf("transform[%d].%s", i, t.Kind()), t.text()})
	}
	for _, name := range p.Functions() { // another version of one is a change of the pipeline
		if f := project.Function(name); f != nil {
			props = append(props, property{"version of " + name, shortVersion(f.Digest)})
		}
	}
	var names []string
	for _, d := range p.Deliveries {
		names = append(names, d.Name)
	}
	return append(props, property{"deliver", strings.Join(names, ", ")})
}

func sourceProperties(s Source) []property {
	m := s.toModel()
	switch {
	case s.Files != nil:
		props := []property{{"source", "files"}, {"source.files.path", s.Files.Path}, {"source.files.match", s.Files.Match}, {"source.files.format", string(s.Files.Format)},
			{"source.files.settle", m.Files.Settle.String()}, {"source.files.csv.header", m.Files.CSV.Header}, {"source.files.csv.encoding", m.Files.CSV.Encoding}}
		return append(props, optional("source.files.csv.delimiter", s.Files.CSV.Delimiter)...)
	case s.Function != nil:
		props := []property{{"source", "function"}, {"source.function", s.Function.Function}, {"source.catch_up", string(s.Function.CatchUp)}}
		props = append(props, optional("source.schedule", s.Function.Schedule.String())...)
		if s.Function.Every > 0 {
			props = append(props, property{"source.every", m.Every.String()})
		}
		return append(props, onOff("source.continuous", s.Function.Continuous)...)
	}
	return []property{{"source", "http"}}
}

// text returns what a step does on one line.
func (t Transform) text() string {
	var parts []string
	for _, m := range t.Mask {
		part := m.Column + ": " + string(m.Method)
		if m.Method == MaskTruncate {
			part += fmt.Sprintf("(%d)", m.Length)
		}
		parts = append(parts, part)
	}
	for _, r := range t.Rename {
		parts = append(parts, r.From+": "+r.To)
	}
	for _, r := range t.Validate {
		parts = append(parts, fmt.Sprintf("%s (%s, %s)", r.Name, r.Condition, r.OnFail))
	}
	return t.Function + t.SQL + t.Filter + strings.Join(parts, ", ")
}

// deliveryProperties are those of every delivery.
func deliveryProperties(p *Pipeline, d Delivery) []property {
	props := []property{{"pipeline", p.Name}, {"stream", p.Stream.Name}}
	props = append(props, optional("when", d.When)...)
	return append(props, property{"buffer.size", v1.ByteSize(d.BufferBytes).String()}, property{"buffer.interval", v1.Duration(d.BufferInterval).String()})
}

func tableProperties(d Delivery) []property {
	var fields []string
	for _, f := range d.PartitionBy {
		fields = append(fields, f.String())
	}
	return append(optional("partition_by", strings.Join(fields, ", ")),
		property{"compression", d.Compression}, property{"on_schema_change", string(d.OnSchemaChange)},
		property{"maintenance.snapshot_age", v1.Duration(d.SnapshotAge).String()}, property{"maintenance.snapshot_count", fmt.Sprint(d.SnapshotCount)},
		property{"maintenance.compact", fmt.Sprint(d.Compact)}, property{"maintenance.file_size", v1.ByteSize(d.FileBytes).String()})
}

func databaseProperties(d Delivery) []property {
	if d.Database == nil {
		return nil
	}
	props := []property{{"database.url", d.Database.URL.String()}, {"database.table", d.Database.Table}, {"database.mode", string(d.Database.Mode)}}
	return append(props, optional("database.key", strings.Join(d.Database.Key, ", "))...)
}
