package strictyaml

import (
	"fmt"
	"reflect"
	"sort"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/tarn-data/tarn"
)

// Decode fills the struct that into points to and returns every fault, in the order of the text.
// Absent keys take their defaults. A value with a fault keeps its zero value and the rest is
// still decoded, so that all faults are found in one go.
func (d *Document) Decode(into any) []Fault {
	v := reflect.ValueOf(into).Elem()
	d.model = v.Type()
	n := d.resolve(d.root, "")
	if m, ok := n.(*ast.MappingNode); ok {
		d.mapping(m, v, v.Type(), "", position(m))
	} else if n != nil {
		p := position(n)
		d.fault(p, "", CodeWrongType, "the file holds "+kindName(n)+" and not keys", "write key: value, with a space after the colon")
	}
	sort.SliceStable(d.faults, func(i, j int) bool {
		a, b := d.faults[i], d.faults[j]
		return a.Line < b.Line || a.Line == b.Line && a.Col < b.Col
	})
	return d.faults
}

// Has reports whether the key or element at path stands in the document.
func (d *Document) Has(path string) bool { _, ok := d.places[path]; return ok }

// Fault returns a fault at the value of path, or at its nearest enclosing value when it is absent.
// The path shown is the one that was written: schema.ts for the column a shorthand names.
func (d *Document) Fault(path string, code tarn.Code, detail, hint string) Fault {
	at, rest := place{line: 1, col: 1}, path
	for p := path; p != ""; {
		if found, ok := d.places[p]; ok {
			at, rest = found, path[len(p):]
			break
		}
		cut := strings.LastIndexAny(p, ".[")
		p = p[:max(cut, 0)]
	}
	return Fault{Line: min(at.line, len(d.lines)), Col: at.col, Path: strings.TrimPrefix(at.display+rest, "."), Code: code, Detail: detail, Hint: hint}
}

// TextPlace returns the line and column of character (line, col) of the text at path, all counted
// from 1. For text that is not a literal block only the beginning of the value is known.
func (d *Document) TextPlace(path string, line, col int) (int, int) {
	at, ok := d.places[path]
	if !ok {
		return 1, 1
	}
	if !at.literal {
		return at.line, at.col
	}
	indent := 0
	for i := at.line; i < len(d.lines); i++ { // the first line with text sets the indentation
		if t := strings.TrimLeft(d.lines[i], " "); strings.TrimSpace(t) != "" {
			indent = len(d.lines[i]) - len(t)
			break
		}
	}
	return at.line + line, indent + col
}

func (d *Document) fault(at place, path string, code tarn.Code, detail, hint string) {
	if d.stopped {
		return
	}
	if len(d.faults) >= maxFaults {
		d.stopped = true
		detail, hint = "there are more faults than are shown", "mend these first"
	}
	d.faults = append(d.faults, Fault{Line: min(at.line, len(d.lines)), Col: at.col, Path: path, Code: code, Detail: detail, Hint: hint})
}

// resolve follows anchors and aliases to the value itself. It returns nil after reporting a fault.
func (d *Document) resolve(n ast.Node, path string) ast.Node {
	for range maxDepth {
		switch x := n.(type) {
		case *ast.AnchorNode:
			n = x.Value
		case *ast.AliasNode:
			name, at := "", position(x)
			if x.Value != nil {
				name = x.Value.GetToken().Value
			}
			var target ast.Node
			for _, a := range d.anchors[name] {
				if a.offset < x.GetToken().Position.Offset {
					target = a.value
				}
			}
			if target == nil {
				d.fault(at, path, tarn.CodeInvalid, fmt.Sprintf("the alias *%s has no anchor before it", clip(name)), fmt.Sprintf("write &%s before the value it stands for", clip(name)))
				return nil
			}
			n = target
		case *ast.TagNode:
			d.fault(position(x), path, tarn.CodeUnsupported, "the tag "+clip(x.Start.Value)+" is not supported", "write the plain value")
			return nil
		default:
			return n
		}
	}
	d.fault(place{line: 1, col: 1}, path, tarn.CodeInvalid, "an alias refers to itself", "")
	return nil
}

// value decodes n into v. canon is the path as the model counts it, display as it is shown.
func (d *Document) value(n ast.Node, v reflect.Value, f Field, canon, display string) {
	if d.visits++; d.visits > maxVisits && !d.stopped {
		d.fault(position(n), display, tarn.CodeTooLarge, fmt.Sprintf("aliases expand to more than %d values", maxVisits), "write fewer aliases")
		d.stopped = true
	}
	if d.stopped || n == nil {
		return
	}
	at := position(n)
	at.display = display
	d.places[canon] = at
	if n = d.resolve(n, display); n == nil {
		return
	}
	if resolved := position(n); resolved.literal {
		resolved.display = display
		d.places[canon] = resolved
	}
	t := v.Type()
	_, isMapping := n.(*ast.MappingNode)
	switch {
	case isMapping && IsText(t) && takesKeys(t):
		d.structValue(n, v, f, canon, display)
	case IsText(t), t.Kind() == reflect.String, t.Kind() == reflect.Bool, t.Kind() == reflect.Int, t.Kind() == reflect.Int64:
		d.scalar(n, v, f, display)
	case t.Kind() == reflect.Pointer:
		v.Set(reflect.New(t.Elem()))
		d.structValue(n, v.Elem(), f, canon, display)
	case t.Kind() == reflect.Struct:
		d.structValue(n, v, f, canon, display)
	case t.Kind() == reflect.Slice:
		d.list(n, v, f, canon, display)
	default:
		panic("strictyaml: the model has a field of type " + t.String())
	}
}

func (d *Document) structValue(n ast.Node, v reflect.Value, f Field, canon, display string) {
	at := position(n)
	at.display = display
	switch m := n.(type) {
	case *ast.MappingNode:
		d.mapping(m, v, v.Type(), canon, at)
	case *ast.NullNode: // a key with nothing under it, as in http:
		d.mapping(&ast.MappingNode{}, v, v.Type(), canon, at)
	default:
		d.wrongType(n, display, "keys and values", f)
	}
}

// mapping decodes m into the struct v. at holds its position and shown path.
func (d *Document) mapping(m *ast.MappingNode, v reflect.Value, t reflect.Type, canon string, at place) {
	fields := Fields(t)
	index := map[string]Field{}
	for _, f := range fields {
		index[f.Name] = f
	}
	present := map[string]bool{}
	d.entries(m, at.display, func(key string, keyAt place, value ast.Node) {
		f, ok := index[key]
		if !ok {
			d.unknownKey(m, key, keyAt, join(at.display, key), fields)
			return
		}
		present[key] = true
		d.value(value, v.Field(f.Index), f, join(canon, key), join(at.display, key))
	})
	for _, f := range fields {
		switch {
		case present[f.Name]:
		case f.Required:
			hint := ""
			if f.Example != "" {
				hint = "for example " + f.Name + ": " + f.Example
			}
			d.fault(at, join(at.display, f.Name), CodeMissing, "the key is missing", hint)
		default:
			setDefault(v.Field(f.Index), f)
		}
	}
}

// entries calls fn for every key of m that is text and stands there for the first time.
func (d *Document) entries(m *ast.MappingNode, display string, fn func(key string, at place, value ast.Node)) {
	lineOf := map[string]int{}
	for _, e := range m.Values {
		var key ast.Node = e.Key
		if k, ok := key.(*ast.MappingKeyNode); ok {
			key = k.Value
		}
		at := position(key)
		if _, ok := key.(*ast.MergeKeyNode); ok {
			d.fault(at, join(display, "<<"), tarn.CodeUnsupported, "merge keys are not supported", "write the keys out, or use an alias for the whole value")
			continue
		}
		s, ok := key.(*ast.StringNode)
		if !ok {
			d.fault(at, display, CodeWrongType, "a key must be text, not "+kindName(key), "quote it")
			continue
		}
		if first, twice := lineOf[s.Value]; twice {
			d.fault(at, join(display, s.Value), CodeDuplicateKey, fmt.Sprintf("the key stands on line %d already", first), "keep one of them")
			continue
		}
		lineOf[s.Value] = at.line
		fn(s.Value, at, e.Value)
	}
}

func (d *Document) unknownKey(m *ast.MappingNode, key string, at place, display string, fields []Field) {
	if d.stopped {
		return
	}
	var known []string
	for _, f := range fields {
		known = append(known, f.Name)
	}
	hint := ""
	if m.IsFlowStyle && strings.Contains(key, ")") && !strings.Contains(key, "(") {
		hint = "a comma between { } begins a new key; quote the value before"
	} else if near := Nearest(key, known); near != "" {
		hint = "did you mean " + near + "?"
	} else if elsewhere := keysNamed(d.model, key); len(elsewhere) > 0 {
		hint = "it is known as " + elsewhere[0]
	} else if len(known) == 0 {
		hint = "no keys belong here"
	} else {
		hint = "known keys: " + strings.Join(known, ", ")
	}
	d.fault(at, display, CodeUnknownKey, "unknown key "+clip(key), hint)
}

// setDefault gives an absent key its value, and the keys under an absent mapping theirs.
func setDefault(v reflect.Value, f Field) {
	if f.Default != "" {
		if err := setText(v, f.Default); err != nil {
			panic("strictyaml: the default of " + f.Name + ": " + err.Error()) // a test decodes every model
		}
		return
	}
	if v.Kind() == reflect.Struct && !IsText(v.Type()) {
		for _, sub := range Fields(v.Type()) {
			setDefault(v.Field(sub.Index), sub)
		}
	}
}
