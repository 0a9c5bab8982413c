package project

import (
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/tarn-data/tarn"
	v1 "github.com/tarn-data/tarn/project/v1"
)

// fromModel returns the settings of tarn.yaml as a spec without pipelines.
func fromModel(m v1.Project) *Project {
	return &Project{
		Name:    string(m.Name),
		Engines: Engines{Stream: m.Engines.Stream.URL, Metadata: m.Engines.Metadata.URL, Lake: m.Engines.Lake.URL},
		Server:  Server{Listen: string(m.Server.Listen)},
		Auth:    authFromModel(m.Auth),
		Limits: Limits{RecordBytes: int64(m.Limits.Record), BodyBytes: int64(m.Limits.Body), MemoryBytes: int64(m.Limits.Memory),
			QueryMemoryBytes: int64(m.Limits.QueryMemory), QueryTimeout: time.Duration(m.Limits.QueryTimeout)},
		Zones: Zones{Raw: zoneFromModel(m.Zones.Raw), Cleaned: zoneFromModel(m.Zones.Cleaned)},
	}
}

// functionFromModel returns the spec of a function file in the folder of that name.
func functionFromModel(name string, m v1.Function, digest string) Function {
	f := Function{
		Name: name, Dir: path.Join(functionsDir, name), Runtime: Runtime(m.Runtime), Handler: string(m.Handler), Timeout: time.Duration(m.Timeout),
		MemoryBytes: int64(m.Memory), Concurrency: m.Concurrency, Retries: m.Retries, Network: m.Network, Sandbox: Sandbox(m.Sandbox), Digest: digest,
		Batch: FunctionBatch{Records: m.Batch.Records, Bytes: int64(m.Batch.Bytes), Wait: time.Duration(m.Batch.Wait)},
	}
	for _, v := range m.Environment {
		if f.Environment == nil {
			f.Environment = map[string]string{}
		}
		f.Environment[string(v.Name)] = string(v.Value)
	}
	for _, name := range m.Secrets {
		f.Secrets = append(f.Secrets, string(name))
	}
	return f
}

// toModel is the inverse of functionFromModel.
func (f *Function) toModel() v1.Function {
	m := v1.Function{
		Runtime: string(f.Runtime), Handler: v1.Handler(f.Handler), Timeout: v1.Duration(f.Timeout), Memory: v1.ByteSize(f.MemoryBytes),
		Concurrency: f.Concurrency, Retries: f.Retries, Network: f.Network, Sandbox: string(f.Sandbox),
		Batch: v1.FunctionBatch{Records: f.Batch.Records, Bytes: v1.ByteSize(f.Batch.Bytes), Wait: v1.Duration(f.Batch.Wait)},
	}
	for _, name := range slices.Sorted(maps.Keys(f.Environment)) {
		m.Environment = append(m.Environment, v1.Variable{Name: v1.VariableName(name), Value: v1.PlainText(f.Environment[name])})
	}
	for _, name := range f.Secrets {
		m.Secrets = append(m.Secrets, v1.VariableName(name))
	}
	return m
}

// toModel is the inverse of fromModel.
func (p *Project) toModel() v1.Project {
	return v1.Project{
		Version: v1.Version, Name: v1.Name(p.Name),
		Engines: v1.Engines{Stream: v1.StreamURL{URL: p.Engines.Stream}, Metadata: v1.MetadataURL{URL: p.Engines.Metadata}, Lake: v1.LakeURL{URL: p.Engines.Lake}},
		Server:  v1.Server{Listen: v1.Address(p.Server.Listen)},
		Auth:    p.Auth.toModel(),
		Limits: v1.Limits{Record: v1.ByteSize(p.Limits.RecordBytes), Body: v1.ByteSize(p.Limits.BodyBytes), Memory: v1.ByteSize(p.Limits.MemoryBytes),
			QueryMemory: v1.ByteSize(p.Limits.QueryMemoryBytes), QueryTimeout: v1.Duration(p.Limits.QueryTimeout)},
		Zones: v1.Zones{Raw: p.Zones.Raw.toModel(), Cleaned: p.Zones.Cleaned.toModel()},
	}
}

func zoneFromModel(m v1.ZoneRule) Zone {
	return Zone{ExpireAfter: time.Duration(m.ExpireAfter), KeepVersions: m.KeepVersions}
}

func (z Zone) toModel() v1.ZoneRule {
	return v1.ZoneRule{ExpireAfter: v1.Duration(z.ExpireAfter), KeepVersions: z.KeepVersions}
}

// document is the JSON form of a Project, which the engine keeps to plan against.
type document struct {
	Project   v1.Project         `json:"project"`
	Functions []functionDocument `json:"functions,omitempty"`
	Pipelines []pipelineDocument `json:"pipelines"`
	Crawlers  []crawlerDocument  `json:"crawlers,omitempty"`
	Twins     []twinDocument     `json:"twins,omitempty"`
	Extracts  []extractDocument  `json:"extracts,omitempty"`
}

type functionDocument struct {
	Name   string `json:"name"`
	Digest string `json:"digest"`
	v1.Function
}

type pipelineDocument struct {
	File string `json:"file"`
	v1.Pipeline
	SQL []string `json:"sql,omitempty"` // the statements, as the files held them
}

// MarshalJSON implements json.Marshaler: the effective settings under the keys of the YAML files,
// with the text of every SQL file. Passwords in addresses are not in it (I7).
func (p *Project) MarshalJSON() ([]byte, error) {
	doc := document{Project: p.toModel(), Pipelines: []pipelineDocument{}}
	for i := range p.Functions {
		f := &p.Functions[i]
		doc.Functions = append(doc.Functions, functionDocument{f.Name, f.Digest, f.toModel()})
	}
	for i := range p.Pipelines {
		pd := pipelineDocument{File: p.Pipelines[i].File, Pipeline: p.Pipelines[i].toModel()}
		for _, t := range p.Pipelines[i].Transforms {
			pd.SQL = append(pd.SQL, t.SQL)
		}
		doc.Pipelines = append(doc.Pipelines, pd)
	}
	for i := range p.Crawlers {
		doc.Crawlers = append(doc.Crawlers, crawlerDocument{p.Crawlers[i].File, p.Crawlers[i].toModel()})
	}
	for i := range p.Twins {
		doc.Twins = append(doc.Twins, twinDocument{p.Twins[i].File, p.Twins[i].toModel()})
	}
	for i := range p.Extracts {
		doc.Extracts = append(doc.Extracts, extractDocument{p.Extracts[i].File, p.Extracts[i].toModel()})
	}
	return json.Marshal(doc)
}

// UnmarshalJSON implements json.Unmarshaler for what MarshalJSON writes. Dir is not part of it.
func (p *Project) UnmarshalJSON(b []byte) error {
	var doc document
	if err := json.Unmarshal(b, &doc); err != nil {
		return err
	}
	if doc.Project.Version != v1.Version {
		return &tarn.Error{Code: tarn.CodeUnsupported, Detail: fmt.Sprintf("version %d of the project format is not known", doc.Project.Version)}
	}
	*p = *fromModel(doc.Project)
	for _, fd := range doc.Functions {
		p.Functions = append(p.Functions, functionFromModel(fd.Name, fd.Function, fd.Digest))
	}
	for _, pd := range doc.Pipelines {
		if len(pd.SQL) != len(pd.Transform) {
			return &tarn.Error{Code: tarn.CodeInvalid, Detail: "the stored project lacks the SQL of pipeline " + string(pd.Pipeline.Pipeline)}
		}
		p.Pipelines = append(p.Pipelines, pipelineFromModel(pd.File, pd.Pipeline, pd.SQL))
	}
	for _, cd := range doc.Crawlers {
		p.Crawlers = append(p.Crawlers, crawlerFromModel(cd.File, cd.Crawler))
	}
	for _, td := range doc.Twins {
		p.Twins = append(p.Twins, twinFromModel(td.File, td.Twin))
	}
	for _, xd := range doc.Extracts {
		p.Extracts = append(p.Extracts, extractFromModel(xd.File, xd.Extract, string(xd.SQL)))
	}
	p.settleStreams()
	p.sort()
	return nil
}

func (p *Project) sort() {
	slices.SortFunc(p.Functions, func(a, b Function) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(p.Pipelines, func(a, b Pipeline) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(p.Crawlers, func(a, b Crawler) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(p.Twins, func(a, b Twin) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(p.Extracts, func(a, b Extract) int { return strings.Compare(a.Name, b.Name) })
}
