package project

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/project/internal/strictyaml"
	v1 "github.com/tarn-data/tarn/project/v1"
)

const (
	functionsDir = "functions"
	functionFile = "function.yaml"

	maxFunctions = 1000
	maxCodeFiles = 20_000    // of one function
	maxCodeBytes = 512 << 20 // of one function
)

// functionSource is a decoded function.yaml and the version of its folder.
type functionSource struct {
	yamlFile
	folder string // the name of the function
	model  v1.Function
	digest string
}

// functions reads and checks the functions. The names are those of all folders, also of the faulty.
func (l *loader) functions() (read []functionSource, names []string) {
	for _, e := range l.entries(functionsDir, "keep each function in functions/NAME/function.yaml") {
		name := path.Join(functionsDir, e.Name())
		switch {
		case strings.HasPrefix(e.Name(), ".") || strings.HasPrefix(e.Name(), "_"):
			continue
		case e.Type()&fs.ModeSymlink != 0:
			l.fileFault(name, tarn.CodeInvalid, name+" is a link", "keep the code in the folder itself")
			continue
		case !e.IsDir():
			continue // a README beside the folders
		}
		if names = append(names, e.Name()); len(names) > maxFunctions {
			l.fileFault(functionsDir, tarn.CodeTooLarge, fmt.Sprintf("there are more than %d functions", maxFunctions), "split the project")
			return read, names
		}
		if f, ok := l.function(e.Name()); ok {
			read = append(read, f)
		}
	}
	return read, names
}

// function reads and checks one function.
func (l *loader) function(folder string) (functionSource, bool) {
	f := functionSource{folder: folder}
	dir := path.Join(functionsDir, folder)
	var name v1.Name
	var bad *tarn.Error
	if err := name.UnmarshalText([]byte(folder)); errors.As(err, &bad) {
		l.fileFault(dir, tarn.CodeInvalid, "the name of the folder, "+bad.Detail, bad.Hint)
		return f, false
	}
	missing := "write runtime: python and handler: app.handler, or begin the folder's name with _"
	if _, err := fs.Stat(l.fsys, path.Join(dir, "function.yml")); err == nil {
		missing = "rename function.yml"
	}
	file, ok := l.decode(path.Join(dir, functionFile), &f.model, missing, "write runtime: python and handler: app.handler")
	if !ok {
		return f, false
	}
	f.yamlFile = file
	l.handler(f, dir)
	l.variables(f)
	digest, fault := l.digest(dir, f.model)
	if fault != nil {
		l.add(file.name, *fault)
	}
	f.digest = digest
	return f, true
}

// handler checks that the folder holds the code that the runtime starts with.
func (l *loader) handler(f functionSource, dir string) {
	runtime, handler := Runtime(f.model.Runtime), string(f.model.Handler)
	if runtime == RuntimeProvided {
		info, err := fs.Stat(l.fsys, path.Join(dir, "bootstrap"))
		switch {
		case err != nil || !info.Mode().IsRegular():
			l.fault(f.yamlFile, "runtime", tarn.CodeNotFound, dir+"/bootstrap does not exist", "build the function into that file, for example GOOS=linux go build -o bootstrap")
		case info.Mode()&0o111 == 0:
			l.fault(f.yamlFile, "runtime", tarn.CodeForbidden, dir+"/bootstrap is not executable", "chmod +x "+dir+"/bootstrap")
		}
		return
	}
	var files []string
	switch {
	case handler == "" || l.hasFaultUnder(f.name, "handler"):
	case runtime == RuntimePython:
		module := strings.ReplaceAll(handler[:strings.LastIndexByte(handler, '.')], ".", "/")
		files = []string{module + ".py", module + "/__init__.py"}
	case runtime == RuntimeNode:
		base, _, _ := strings.Cut(path.Base(handler), ".")
		module := path.Join(path.Dir(handler), base)
		files = []string{module + ".mjs", module + ".js", module + ".cjs"}
	}
	if !f.doc.Has("handler") && (runtime == RuntimePython || runtime == RuntimeNode) {
		l.fault(f.yamlFile, "handler", CodeMissing, "the key is missing", "for example handler: app.handler")
	}
	if len(files) > 0 && !slices.ContainsFunc(files, func(name string) bool {
		info, err := fs.Stat(l.fsys, path.Join(dir, name))
		return err == nil && info.Mode().IsRegular()
	}) {
		l.fault(f.yamlFile, "handler", tarn.CodeNotFound, path.Join(dir, files[0])+" does not exist", "create it, or mend the handler: it is MODULE.FUNCTION")
	}
}

// variables reports names that stand twice in a function's environment.
func (l *loader) variables(f functionSource) {
	seen := map[v1.VariableName]string{}
	claim := func(name v1.VariableName, key, path string) {
		if other, twice := seen[name]; twice && name != "" {
			l.fault(f.yamlFile, path, tarn.CodeConflict, fmt.Sprintf("the variable %s stands under %s already", name, other), "keep one of them")
		}
		seen[name] = key
	}
	for i, v := range f.model.Environment {
		claim(v.Name, "environment", fmt.Sprintf("environment[%d].name", i))
	}
	for i, name := range f.model.Secrets {
		claim(name, "secrets", fmt.Sprintf("secrets[%d]", i))
	}
}

// digest returns the version of a function: a hash of its settings and of the path, the
// executable bit and the content of every file of its code.
func (l *loader) digest(dir string, m v1.Function) (string, *strictyaml.Fault) {
	settings, err := json.Marshal(m)
	if err != nil {
		return "", &strictyaml.Fault{Line: 1, Col: 1, Code: tarn.CodeInvalid, Detail: "the settings cannot be read"}
	}
	sum := sha256.New()
	sum.Write(settings)
	files, left := 0, int64(maxCodeBytes)
	err = fs.WalkDir(l.fsys, dir, func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != dir && !isCodeFolder(d.Name()):
			return fs.SkipDir
		case d.IsDir() || !isCodeFile(d.Name()) || name == path.Join(dir, functionFile):
			return nil
		}
		if files++; files > maxCodeFiles {
			return errTooMuchCode
		}
		n, err := l.addFile(sum, name, d, left)
		left -= n
		return err
	})
	switch {
	case errors.Is(err, errTooMuchCode):
		return "", &strictyaml.Fault{Line: 1, Col: 1, Code: tarn.CodeTooLarge, Detail: fmt.Sprintf("%s has more than %d files or %d MiB", dir, maxCodeFiles, maxCodeBytes>>20),
			Hint: "keep only what the function needs in its folder"}
	case err != nil:
		return "", &strictyaml.Fault{Line: 1, Col: 1, Code: tarn.CodeForbidden, Detail: "the files in " + dir + " cannot all be read", Hint: "check their permissions"}
	}
	return hex.EncodeToString(sum.Sum(nil)[:16]), nil
}

var errTooMuchCode = errors.New("too much code")

// addFile hashes one file and returns its size. A link counts by where it leads, and a file that is
// neither, such as a socket, by its name.
func (l *loader) addFile(sum hash.Hash, name string, d fs.DirEntry, limit int64) (int64, error) {
	head := func(mode string, size int64) { fmt.Fprintf(sum, "\x00%s\x00%s\x00%d\x00", name, mode, size) }
	switch {
	case d.Type()&fs.ModeSymlink != 0:
		target, err := fs.ReadLink(l.fsys, name)
		head("link", int64(len(target)))
		_, _ = io.WriteString(sum, target) // a hash takes everything
		return 0, err
	case !d.Type().IsRegular():
		head("other", 0)
		return 0, nil
	}
	f, err := l.fsys.Open(name)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	mode := "file"
	if info.Mode()&0o111 != 0 {
		mode = "executable"
	}
	content := sha256.New()
	n, err := io.Copy(content, io.LimitReader(f, limit+1))
	if n > limit {
		return n, errTooMuchCode
	}
	head(mode, n)
	sum.Write(content.Sum(nil))
	return n, err
}

// isCodeFolder and isCodeFile leave out what tools write beside the code.
func isCodeFolder(name string) bool { return !strings.HasPrefix(name, ".") && name != "__pycache__" }

func isCodeFile(name string) bool {
	return !strings.HasSuffix(name, "~") && !strings.HasSuffix(name, ".swp") && !strings.HasSuffix(name, ".pyc") && name != ".DS_Store"
}

// known reports a function that a pipeline names and that does not exist.
func (l *loader) known(f yamlFile, yamlPath string, name v1.Name, functions []string) {
	if name == "" || slices.Contains(functions, string(name)) {
		return
	}
	hint := fmt.Sprintf("create %s/%s/%s", functionsDir, name, functionFile)
	if near := strictyaml.Nearest(string(name), functions); near != "" {
		hint = "did you mean " + near + "?"
	}
	l.fault(f, yamlPath, tarn.CodeNotFound, "there is no function "+string(name), hint)
}
