package laketest

import (
	"bytes"
	"maps"
	"os"
	"path"
	"path/filepath"
	"sync"

	lakefs "github.com/tarn-data/tarn/lake/fs"
)

// PowerCut is a System over a real folder that remembers what has been fsynced. Cut takes away the
// rest, as harshly as POSIX allows: names that were not fsynced in their folder vanish, removed
// names that were not come back, and content that was not fsynced is gone.
type PowerCut struct {
	lakefs.System
	root string

	mu      sync.Mutex
	top     *node
	locals  map[string][]byte // fsynced content of files outside
	Careful bool              // false makes SyncDir a lie, to show that a test would notice
}

// node is a file or folder as it is now and as it would be after a power cut.
type node struct {
	now     map[string]*node // folders
	durable map[string]*node
	synced  bool // files
	content []byte
}

func dirNode() *node { return &node{now: map[string]*node{}, durable: map[string]*node{}} }

// NewPowerCut starts with everything below root taken for durable.
func NewPowerCut(root string) (*PowerCut, error) {
	sys, err := lakefs.OS(root)
	if err != nil {
		return nil, err
	}
	p := &PowerCut{System: sys, root: root, locals: map[string][]byte{}, Careful: true}
	p.top, err = load(root)
	return p, err
}

func load(dir string) (*node, error) {
	n := dirNode()
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		child := &node{synced: true}
		if e.IsDir() {
			child, err = load(filepath.Join(dir, e.Name()))
		} else {
			child.content, err = os.ReadFile(filepath.Join(dir, e.Name()))
		}
		if err != nil {
			return nil, err
		}
		n.now[e.Name()], n.durable[e.Name()] = child, child
	}
	return n, err
}

// Cut brings the folder to the state after a power cut. Nothing else may use it meanwhile.
func (p *PowerCut) Cut() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	entries, err := os.ReadDir(p.root)
	for _, e := range entries {
		if err == nil {
			err = os.RemoveAll(filepath.Join(p.root, e.Name()))
		}
	}
	if err == nil {
		err = store(p.root, p.top)
	}
	if err == nil {
		p.top, err = load(p.root)
	}
	return err
}

func store(dir string, n *node) error {
	for name, child := range n.durable {
		at := filepath.Join(dir, name)
		var err error
		if child.durable == nil {
			err = os.WriteFile(at, child.content, 0o644) // empty when it was never fsynced
		} else if err = os.Mkdir(at, 0o755); err == nil {
			err = store(at, child)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// folder returns the node of a folder; the caller holds mu.
func (p *PowerCut) folder(name string) *node {
	n := p.top
	if name == "." {
		return n
	}
	for _, part := range splitPath(name) {
		if n == nil || n.now == nil {
			return dirNode()
		}
		n = n.now[part]
	}
	if n == nil || n.now == nil {
		return dirNode()
	}
	return n
}

func splitPath(name string) []string {
	dir, base := path.Split(name)
	if dir == "" {
		return []string{base}
	}
	return append(splitPath(path.Clean(dir)), base)
}

type trackedFile struct {
	lakefs.File
	p    *PowerCut
	n    *node
	name string
}

// Sync implements File.
func (f *trackedFile) Sync() error {
	if err := f.File.Sync(); err != nil {
		return err
	}
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	body := make([]byte, fi.Size())
	if _, err := f.ReadAt(body, 0); err != nil && len(body) > 0 {
		return err
	}
	f.p.mu.Lock()
	defer f.p.mu.Unlock()
	f.n.synced, f.n.content = true, body
	return nil
}

// Create implements System.
func (p *PowerCut) Create(name string) (lakefs.File, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f, err := p.System.Create(name)
	if err != nil {
		return nil, err
	}
	n := &node{}
	p.folder(path.Dir(name)).now[path.Base(name)] = n
	return &trackedFile{f, p, n, name}, nil
}

// Mkdir implements System.
func (p *PowerCut) Mkdir(name string) error {
	p.mu.Lock() // before the folder is there: another writer may find and use it at once
	defer p.mu.Unlock()
	if err := p.System.Mkdir(name); err != nil {
		return err
	}
	p.folder(path.Dir(name)).now[path.Base(name)] = dirNode()
	return nil
}

// Rename implements System.
func (p *PowerCut) Rename(from, to string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.System.Rename(from, to); err != nil {
		return err
	}
	src := p.folder(path.Dir(from)).now
	p.folder(path.Dir(to)).now[path.Base(to)] = src[path.Base(from)]
	delete(src, path.Base(from))
	return nil
}

// SyncLocal implements System.
func (p *PowerCut) SyncLocal(local string) error {
	if err := p.System.SyncLocal(local); err != nil {
		return err
	}
	body, err := os.ReadFile(local)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.locals[local] = body
	return nil
}

// Adopt implements System.
func (p *PowerCut) Adopt(local, to string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	now, err := os.ReadFile(local)
	if err != nil {
		return err
	}
	if err := p.System.Adopt(local, to); err != nil {
		return err
	}
	body, synced := p.locals[local]
	synced = synced && bytes.Equal(body, now)
	n := &node{synced: synced}
	if synced {
		n.content = body
	}
	delete(p.locals, local)
	p.folder(path.Dir(to)).now[path.Base(to)] = n
	return nil
}

// Remove implements System.
func (p *PowerCut) Remove(name string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.System.Remove(name); err != nil {
		return err
	}
	delete(p.folder(path.Dir(name)).now, path.Base(name))
	return nil
}

// SyncDir implements System.
func (p *PowerCut) SyncDir(name string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, err := p.System.Stat(name); err != nil {
		return err
	}
	if p.Careful {
		n := p.folder(name)
		n.durable = maps.Clone(n.now)
	}
	return nil
}
