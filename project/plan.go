package project

import (
	"encoding/json"
	"slices"
	"strings"
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

// Change is what applying a project does to one function, stream, pipeline, table or other delivery,
// or to the settings.
type Change struct {
	Action Action        `json:"action"`
	Kind   string        `json:"kind"` // settings, function, stream, pipeline, table or delivery
	Name   string        `json:"name"`
	Fields []FieldChange `json:"fields,omitempty"` // of a change
	Note   string        `json:"note,omitempty"`   // what it means
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
		c = append(c, compareSettings(old, new))
	}
	olds, news := parts(old), parts(new)
	for _, kind := range []string{"function", "stream", "pipeline", "table", "delivery", "crawler", "twin", "extract"} {
		for _, name := range unionOfNames(olds[kind], news[kind]) {
			before, had := olds[kind][name]
			after, has := news[kind][name]
			switch {
			case !had:
				c = append(c, Change{Action: Create, Kind: kind, Name: name})
			case !has:
				c = append(c, Change{Action: Remove, Kind: kind, Name: name, Note: removal[kind], Unsafe: removal[kind] != ""})
			default:
				c.compare(kind, name, before, after)
			}
			if kind == "function" && has && !new.uses(name) {
				c[len(c)-1].Note = "no pipeline uses it"
			}
		}
	}
	return c
}

// nextStart is the note of a setting that a lake which runs takes over when it starts again.
const nextStart = "from the next start"

func compareSettings(old, new *Project) Change {
	var c Changes
	c.compare("settings", new.Name, settings(old), settings(new))
	for i := range c[0].Fields {
		if f := &c[0].Fields[i]; authAtOnce(old.Auth, new.Auth, f.Path) {
			f.Note = ""
		}
	}
	return c[0]
}

// NextStart returns the settings of next that a lake which runs with those of running takes over only when
// it starts again.
func NextStart(running, next *Project) []FieldChange {
	fields := compareSettings(running, next).Fields
	return slices.DeleteFunc(fields, func(f FieldChange) bool { return f.Note != nextStart && !strings.HasPrefix(f.Path, "engines.") })
}

// removal says what it means to remove a thing of each kind, where that can strand data.
var removal = map[string]string{
	"stream":   "its door closes and its undelivered records are not delivered; the data stays on disk",
	"table":    "nothing is delivered to it any more; its data stays",
	"delivery": "nothing is delivered to it any more; its data stays",
	"extract":  "it stops where it is, and goes on from there when it comes back",
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
