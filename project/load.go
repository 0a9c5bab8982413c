package project

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/project/internal/strictyaml"
	v1 "github.com/tarn-data/tarn/project/v1"
)

// The files of a project.
const (
	projectFile  = "tarn.yaml"
	pipelinesDir = "pipelines"

	maxPipelines = 1000
	maxFaults    = 101 // of one file; its decoding stops at 100 and says so
	maxSQLBytes  = 1 << 20
)

// Options lend Load what it cannot do itself. The zero value is valid and checks no SQL.
type Options struct {
	// CheckSQL returns an error when sql is not one SELECT statement. file is the file that holds
	// it, for messages. The error may be an *SQLError, or a *tarn.Error or another whose text begins
	// with "line N, column M: " or holds DuckDB's "LINE n:" and caret. Semicolons and comments at
	// the end of the statement have been taken off.
	CheckSQL func(file, sql string) error
	// Describe returns the columns of sql when the relation records has those of input. With it,
	// partition columns behind SQL transforms are checked too, where the schema is declared.
	Describe func(sql string, input tarn.Schema) ([]tarn.Field, error)
	// CheckExtract is CheckSQL for the statement of an extract.
	CheckExtract func(sql string, rules ExtractRules) error
}

// LoadDir reads the project in a folder. It does not follow links that lead out of it.
func LoadDir(dir string, opts Options) (*Project, Faults) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		abs = dir
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		detail := "the folder cannot be opened"
		if errors.Is(err, fs.ErrNotExist) {
			detail = "the folder does not exist"
		}
		return nil, Faults{{File: filepath.ToSlash(dir), Line: 1, Col: 1, Code: tarn.CodeNotFound, Detail: detail, Hint: "`tarn init DIR` writes a project to begin with"}}
	}
	defer root.Close()
	p, faults := Load(root.FS(), opts)
	if p != nil {
		p.Dir = abs
	}
	return p, faults
}

// Load reads and checks the project at the root of fsys. It returns either a valid project or
// every fault; a project without pipelines is valid. fsys decides which links are followed: use
// LoadDir for a folder. Load keeps nothing open and may be called concurrently.
func Load(fsys fs.FS, opts Options) (*Project, Faults) {
	l := &loader{fsys: fsys, opts: opts, count: map[string]int{}, sqlText: map[string]string{}}
	settings := l.project()
	functions, names := l.functions()
	pipelines := readAll(l.yamlFiles(pipelinesDir, "pipeline", maxPipelines), l.pipeline)
	crawlers := readAll(l.yamlFiles(crawlersDir, "crawler", maxCrawlers), l.crawler)
	l.checkCrawlers(crawlers, pipelines)
	twins := readAll(l.yamlFiles(twinsDir, "twin", maxTwins), l.twin)
	l.checkTwins(twins)
	extracts := readAll(l.yamlFiles(extractsDir, "extract", maxExtracts), l.extract)
	l.checkExtracts(extracts, pipelines, crawlers, twins)
	l.unique(pipelines)
	l.folders(pipelines, settings.Engines.Lake.URL)
	l.used(pipelines, names)
	if len(l.faults) > 0 {
		l.faults.sort()
		return nil, l.faults
	}
	p := fromModel(settings)
	for _, f := range functions {
		p.Functions = append(p.Functions, functionFromModel(f.folder, f.model, f.digest))
	}
	for _, f := range pipelines {
		p.Pipelines = append(p.Pipelines, pipelineFromModel(f.name, f.model, f.sql))
	}
	for _, f := range crawlers {
		p.Crawlers = append(p.Crawlers, crawlerFromModel(f.name, f.model))
	}
	for _, f := range twins {
		p.Twins = append(p.Twins, twinFromModel(f.name, f.model))
	}
	for _, f := range extracts {
		p.Extracts = append(p.Extracts, extractFromModel(f.name, f.model, f.sql))
	}
	p.settleStreams()
	p.sort()
	return p, nil
}

// loader carries one Load.
type loader struct {
	fsys    fs.FS
	opts    Options
	faults  Faults
	count   map[string]int    // of faults, by file
	sqlText map[string]string // by file and kind of check; "" for one that has a fault
}

// yamlFile is a decoded file, for faults with its places.
type yamlFile struct {
	name string
	doc  *strictyaml.Document
}

// pipelineFile is a decoded pipeline with the statements of its transforms.
type pipelineFile struct {
	yamlFile
	model v1.Pipeline
	sql   []string
}

func (l *loader) add(file string, f strictyaml.Fault) {
	if l.count[file]++; l.count[file] > maxFaults {
		if l.count[file] > maxFaults+1 {
			return
		}
		f = strictyaml.Fault{Line: f.Line, Col: f.Col, Code: tarn.CodeTooLarge, Detail: "there are more faults than are shown", Hint: "mend these first"}
	}
	l.faults = append(l.faults, Fault{File: file, Line: f.Line, Col: f.Col, Path: f.Path, Code: f.Code, Detail: f.Detail, Hint: f.Hint})
}

func (l *loader) fault(f yamlFile, path string, code tarn.Code, detail, hint string) {
	l.add(f.name, f.doc.Fault(path, code, detail, hint))
}

func (l *loader) fileFault(file string, code tarn.Code, detail, hint string) {
	l.add(file, strictyaml.Fault{Line: 1, Col: 1, Code: code, Detail: detail, Hint: hint})
}

// read returns the content of a regular file of at most limit bytes, or reports why not.
// missing is the hint when there is none.
func (l *loader) read(name string, limit int64, missing string) ([]byte, *strictyaml.Fault) {
	fail := func(code tarn.Code, detail, hint string) ([]byte, *strictyaml.Fault) {
		return nil, &strictyaml.Fault{Line: 1, Col: 1, Code: code, Detail: detail, Hint: hint}
	}
	info, err := fs.Stat(l.fsys, name) // before opening: opening a named pipe would wait for ever
	if err == nil && !info.Mode().IsRegular() {
		return fail(tarn.CodeInvalid, name+" is not a regular file", "")
	}
	var f fs.File
	if err == nil {
		f, err = l.fsys.Open(name)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fail(tarn.CodeNotFound, name+" does not exist", missing)
	case errors.Is(err, fs.ErrPermission):
		return fail(tarn.CodeForbidden, name+" may not be read", "check its permissions")
	case err != nil && strings.Contains(err.Error(), "escapes"): // os.Root has no sentinel for it
		return fail(tarn.CodeForbidden, name+" is a link that leads out of the project", "copy the file into the project")
	case err != nil:
		return fail(tarn.CodeNotFound, name+" cannot be read", "")
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	switch {
	case err != nil:
		return fail(tarn.CodeNotFound, name+" cannot be read", "")
	case int64(len(b)) > limit:
		return fail(tarn.CodeTooLarge, fmt.Sprintf("%s has more than %d KiB", name, limit>>10), "a project file is written by hand; is this data?")
	}
	return b, nil
}

// decode reads a YAML file into model and reports its faults. It returns false when nothing could
// be decoded.
func (l *loader) decode(name string, model any, missing, empty string) (yamlFile, bool) {
	src, fault := l.read(name, strictyaml.MaxBytes, missing)
	if fault != nil {
		l.add(name, *fault)
		return yamlFile{}, false
	}
	doc, faults := strictyaml.Parse(src)
	if doc != nil {
		faults = doc.Decode(model)
	}
	for _, f := range faults {
		if f.Code == CodeMissing && f.Path == "" {
			f.Hint = empty
		}
		l.add(name, f)
	}
	return yamlFile{name, doc}, doc != nil
}

// project reads tarn.yaml.
func (l *loader) project() v1.Project {
	missing := "`tarn init` writes one"
	if _, err := fs.Stat(l.fsys, "tarn.yml"); err == nil {
		missing = "rename tarn.yml"
	}
	before := len(l.faults)
	var m v1.Project
	f, ok := l.decode(projectFile, &m, missing, "write version: 1 and name: NAME")
	if !ok {
		return m
	}
	if m.Version != v1.Version && m.Version > 0 {
		// The keys of another version are not ours to judge.
		l.faults = l.faults[:before]
		l.fault(f, "version", tarn.CodeUnsupported, fmt.Sprintf("version %d of the project format is not known", m.Version),
			fmt.Sprintf("this Tarn reads version %d", v1.Version))
		return m
	}
	if open(string(m.Server.Listen)) && !authFromModel(m.Auth).Guarded() {
		l.fault(f, "server.listen", tarn.CodeForbidden, "everybody who reaches this address could read and write the lake, and no credentials are configured",
			"write auth: {mode: embedded}, or listen on 127.0.0.1:PORT")
	}
	l.checkAuth(f, m.Auth)
	if m.Limits.Record > m.Limits.Body && m.Limits.Body > 0 {
		l.fault(f, "limits.record", tarn.CodeInvalid, fmt.Sprintf("a record of %s does not fit a body of %s", m.Limits.Record, m.Limits.Body), "raise limits.body or lower limits.record")
	}
	if m.Limits.QueryMemory > m.Limits.Memory/2 && m.Limits.Memory > 0 {
		l.fault(f, "limits.query_memory", tarn.CodeInvalid, fmt.Sprintf("%s is more than half of the memory of %s", m.Limits.QueryMemory, m.Limits.Memory),
			"raise limits.memory or lower limits.query_memory")
	}
	return m
}

// open reports whether an address surely takes connections of other machines. What a host name means is
// known only where the project runs.
func open(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false // reported where it was decoded
	}
	ip, err := netip.ParseAddr(host)
	return host == "" || err == nil && !ip.Unmap().IsLoopback()
}

// unique reports names that stand twice in the project.
func (l *loader) unique(files []pipelineFile) {
	seen := map[string]string{} // kind and name → where it stands
	claim := func(f yamlFile, kind, name, path, hint string) bool {
		if name == "" {
			return true // it has a fault already
		}
		at := f.doc.Fault(path, "", "", "")
		if other, taken := seen[kind+name]; taken {
			l.fault(f, path, tarn.CodeConflict, fmt.Sprintf("the %s %s stands in %s already", kind, name, other), hint)
			return false
		}
		seen[kind+name] = fmt.Sprintf("%s:%d", f.name, at.Line)
		return true
	}
	for _, f := range files {
		name, stream := string(f.model.Pipeline), string(f.model.Stream.Name)
		named := claim(f.yamlFile, "pipeline", name, "pipeline", "give each pipeline its own name")
		switch {
		case stream != "":
			claim(f.yamlFile, "stream", stream, "stream.name", "give each pipeline its own stream")
		case named: // else the twin of the pipeline has been reported
			claim(f.yamlFile, "stream", name, "pipeline", "give each pipeline its own stream.name")
		}
		for i, d := range f.model.Deliver {
			path := fmt.Sprintf("deliver[%d]", i)
			switch name := deliveryName(d); {
			case d.Table != "":
				claim(f.yamlFile, "table", name, path+".table", "deliver to each table from one place only")
			case d.Database != nil:
				claim(f.yamlFile, "delivery", name, path+".database", "write another name: into it")
			default:
				claim(f.yamlFile, "delivery", name, path+".cleaned", "choose another name")
			}
		}
	}
}

// used reports functions that pipelines name and nobody wrote.
func (l *loader) used(files []pipelineFile, functions []string) {
	for _, f := range files {
		l.known(f.yamlFile, "source.function", f.model.Source.Function, functions)
		for i, t := range f.model.Transform {
			l.known(f.yamlFile, fmt.Sprintf("transform[%d].function", i), t.Function, functions)
		}
	}
}
