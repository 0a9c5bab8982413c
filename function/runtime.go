package function

import (
	"context"
	"embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/tarn-data/tarn"
)

// bootstraps are the programs that load a handler and speak the Runtime API for it.
//
//go:embed bootstrap/bootstrap.py bootstrap/bootstrap.mjs
var bootstraps embed.FS

// writeBootstraps puts them into dir.
func writeBootstraps(dir string) error {
	entries, err := bootstraps.ReadDir("bootstrap")
	if err != nil {
		return err
	}
	for _, e := range entries {
		b, err := bootstraps.ReadFile("bootstrap/" + e.Name())
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, e.Name()), b, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// systemFolders hold the programs and libraries of the operating system and of package managers; a
// function may read them.
var systemFolders = []string{
	"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store", "/gnu/store", "/home/linuxbrew/.linuxbrew",
}

// interpreter is a program that runs a function's code.
type interpreter struct {
	path  string   // the real executable, no wrapper script and no symbolic link
	needs []string // itself and its libraries, as far as they are not in the folders of the system
}

// Questions that make an interpreter say where it really is: itself in the first line, then the folders
// it was installed into.
const (
	askPython = "import os,sys; print(os.path.realpath(getattr(sys,'_base_executable',None) or sys.executable)); print(sys.base_prefix); print(sys.prefix)"
	askNode   = "const {dirname}=require('path'); console.log(process.execPath); console.log(dirname(dirname(require('fs').realpathSync(process.execPath))))"
)

// findInterpreter looks for the interpreter of a runtime in PATH and asks it where it is; version
// managers put scripts there that a sandbox could not run.
func findInterpreter(ctx context.Context, spec Spec) (interpreter, error) {
	name, args := "python3", []string{"-I", "-c", askPython}
	if spec.Runtime == RuntimeNode {
		name, args = "node", []string{"-e", askNode}
	}
	var failure error
	for _, candidate := range []string{name, "/usr/bin/" + name, "/usr/local/bin/" + name} {
		path, err := exec.LookPath(candidate)
		if err != nil {
			failure = first(failure, err)
			continue
		}
		found, err := ask(ctx, path, args)
		if err == nil {
			return found, nil
		}
		failure = first(failure, err)
	}
	return interpreter{}, &tarn.Error{Code: tarn.CodeUnavailable,
		Detail: fmt.Sprintf("function %s: there is no working %s on this machine", spec.Name, name),
		Hint:   "install it, or put it into PATH", Err: failure}
}

func first(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

func ask(ctx context.Context, path string, args []string) (interpreter, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, args...).Output()
	if err != nil {
		return interpreter{}, fmt.Errorf("%s: %w", path, err)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	real, err := filepath.EvalSymlinks(lines[0])
	if err != nil {
		return interpreter{}, err
	}
	needs := []string{real}
	for _, prefix := range lines[1:] {
		// Not the whole prefix: that of ~/bin/node is somebody's home.
		needs = append(needs, filepath.Join(prefix, "lib"), filepath.Join(prefix, "lib64"), filepath.Join(prefix, "pyvenv.cfg"))
	}
	slices.Sort(needs)
	needs = slices.DeleteFunc(slices.Compact(needs), func(path string) bool {
		_, err := os.Stat(path)
		return err != nil || slices.ContainsFunc(systemFolders, func(dir string) bool { return within(path, dir) })
	})
	return interpreter{path: real, needs: needs}, nil
}

// argv returns the command line of a worker. {code} and {runtime} stand for the places the worker sees.
func (s Spec) argv(with interpreter) []string {
	switch s.Runtime {
	case RuntimePython:
		return []string{with.path, "{runtime}/bootstrap.py"}
	case RuntimeNode:
		return slices.Concat([]string{with.path}, nodeHeap(s.MemoryBytes>>20), []string{"{runtime}/bootstrap.mjs"})
	}
	return []string{"{code}/bootstrap"}
}

// nodeHeap is the settings of Node's heap for a function that may use so many MiB: together 27/32 of them, the rest is
// for buffers and the program itself. An event of 500 records is some MiB of objects that die with it: new objects, which
// take up to three times this, get more room than Node gives them by itself, and get it early (docs/adr/0018-node-answers.md).
func nodeHeap(memory int64) []string {
	young := int64(2)
	for young < 32 && young*32 <= memory { // Node takes a power of two
		young *= 2
	}
	return []string{fmt.Sprintf("--max-old-space-size=%d", max(memory*27/32-3*young, 32)),
		fmt.Sprintf("--min-semi-space-size=%d", young/2), fmt.Sprintf("--max-semi-space-size=%d", young)}
}

// checkCode finds out whether the code folder holds something to start.
func checkCode(s Spec) error {
	info, err := os.Stat(s.Dir)
	if err != nil || !info.IsDir() {
		return s.fault(fmt.Sprintf("there is no code folder %s", s.Dir), "make it, or correct the path")
	}
	if s.Runtime != RuntimeProvided {
		return nil
	}
	info, err = os.Stat(filepath.Join(s.Dir, "bootstrap"))
	switch {
	case err != nil || !info.Mode().IsRegular():
		return s.fault("there is no file bootstrap in "+s.Dir, "compile the function and name the executable bootstrap")
	case info.Mode()&0o111 == 0:
		return s.fault(filepath.Join(s.Dir, "bootstrap")+" is not executable", "chmod +x it")
	}
	return nil
}
