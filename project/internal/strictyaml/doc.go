// Package strictyaml reads one YAML document into a Go model and reports every fault it holds, each
// with its place.
//
// The bytes of a file enter; a filled model, the place of every value and a list of faults leave.
// Package project calls it, once per file; nothing else does. The model's struct tags are its rules
// and are read by the editor schema and the reference too:
//
//	json       the key, as encoding/json reads it
//	doc        what the key means: Markdown, with ' for the back quote that a tag cannot hold
//	required   "true": the key must stand there
//	default    the value of an absent key
//	enum       the permitted values, separated by commas
//	min, max   the permitted range, in the type's own text form
//	example    a value to show in a hint
//	shorthand  "name,type": a list of structs may be written as a mapping of name to type
//	single     "true": a list of one may be written as its element
//
// The parser below is github.com/goccy/go-yaml; size, tokens, depth and alias expansion are bounded
// before and around it, so that no input costs more than a second or a few tens of MiB (I8).
package strictyaml
