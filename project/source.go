package project

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/tarn-data/tarn"
	v1 "github.com/tarn-data/tarn/project/v1"
)

// source checks the door of a pipeline.
func (l *loader) source(f pipelineFile) {
	stated := l.stated(f.yamlFile, "source", "http", "files", "function")
	switch {
	case len(stated) == 0:
		if known := f.doc.Fault("source", "", "", ""); f.doc.Has("source") && !l.hasFaultUnder(f.name, known.Path) {
			l.fault(f.yamlFile, "source", CodeMissing, "the source names no door", "write http: {}, files: {path: FOLDER} or function: NAME")
		}
	case len(stated) > 1:
		l.fault(f.yamlFile, "source."+stated[1], tarn.CodeInvalid, "the source has two doors, "+stated[0]+" and "+stated[1], "write a pipeline for each")
	}
	times := l.stated(f.yamlFile, "source", "schedule", "every", "continuous", "catch_up")
	if !slices.Contains(stated, "function") {
		for _, key := range times {
			l.fault(f.yamlFile, "source."+key, tarn.CodeInvalid, key+" belongs to a function", "write function: NAME beside it")
		}
	} else {
		l.times(f, times)
	}
	if files := f.model.Source.Files; files != nil && files.Format != string(FormatCSV) && files.Format != string(FormatAuto) && f.doc.Has("source.files.csv") {
		l.fault(f.yamlFile, "source.files.csv", tarn.CodeInvalid, "files read as "+files.Format+" are no CSV", "take it away, or write format: csv")
	}
}

// stated returns those of the keys under path that stand in a file.
func (l *loader) stated(f yamlFile, path string, keys ...string) []string {
	return slices.DeleteFunc(keys, func(key string) bool { return !f.doc.Has(path + "." + key) })
}

// times checks when the function of a source runs; stated are the keys of the file that say so.
func (l *loader) times(f pipelineFile, stated []string) {
	catchUp := slices.Contains(stated, "catch_up")
	stated = slices.DeleteFunc(stated, func(key string) bool { return key == "catch_up" })
	const hint = `write one of schedule: "*/5 * * * *", every: 10s and continuous: true`
	switch {
	case len(stated) == 0, stated[0] == "continuous" && !f.model.Source.Continuous && !l.hasFaultUnder(f.name, "source.continuous"):
		l.fault(f.yamlFile, "source.function", CodeMissing, "it is not said when the function runs", hint)
	case len(stated) > 1:
		l.fault(f.yamlFile, "source."+stated[1], tarn.CodeInvalid, "it stands beside "+stated[0], hint)
	case catchUp && f.model.Source.Continuous:
		l.fault(f.yamlFile, "source.catch_up", tarn.CodeInvalid, "a continuous source has no runs to catch up", "take it away")
	}
}

// ownFolders are the folders of a project that hold no data.
var ownFolders = []string{pipelinesDir, functionsDir, "sql", "tests", "crawlers", "twins", extractsDir}

// zoneFolders are the folders of the lake that Tarn writes.
var zoneFolders = []string{"raw", "cleaned", v1.Zone}

// folders reports file sources whose folders overlap with each other or with what Tarn writes into
// the lake: a file would be taken that nobody dropped.
func (l *loader) folders(files []pipelineFile, lake URL) {
	type drop struct{ folder, at string }
	var drops []drop
	for _, f := range files {
		if f.model.Source.Files == nil || f.model.Source.Files.Path == "" {
			continue
		}
		const yamlPath = "source.files.path"
		folder := string(f.model.Source.Files.Path)
		if owner := ownerOf(folder, lake); owner != "" {
			l.fault(f.yamlFile, yamlPath, tarn.CodeConflict, folder+" is "+owner, "choose another folder, such as landing/"+string(f.model.Pipeline))
		}
		for _, other := range drops {
			if within(folder, other.folder) || within(other.folder, folder) {
				l.fault(f.yamlFile, yamlPath, tarn.CodeConflict, fmt.Sprintf("%s overlaps with %s of %s", folder, other.folder, other.at), "give each source its own folder")
				break
			}
		}
		drops = append(drops, drop{folder, fmt.Sprintf("%s:%d", f.name, f.doc.Fault(yamlPath, "", "", "").Line)})
	}
}

// ownerOf says to whom a folder belongs already, "" for nobody. A relative folder is one in the lake.
func ownerOf(folder string, lake URL) string {
	at := ""
	if path.IsAbs(folder) {
		if at = lake.String(); !path.IsAbs(at) {
			return "" // where the lake lies is not known here
		}
	}
	for _, zone := range zoneFolders {
		if within(folder, path.Join(at, zone)) {
			return "a folder that Tarn writes"
		}
	}
	if at != "" && within(path.Clean(at), folder) {
		return "the folder of the lake, or around it"
	}
	return ""
}

// within reports whether a path is dir or lies below it.
func within(name, dir string) bool { return name == dir || strings.HasPrefix(name, dir+"/") }
