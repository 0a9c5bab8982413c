package strictyaml

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"

	"github.com/tarn-data/tarn"
)

// scalar decodes text, numbers and booleans, and checks the range and the permitted values.
func (d *Document) scalar(n ast.Node, v reflect.Value, f Field, display string) {
	at := position(n)
	if _, null := n.(*ast.NullNode); null {
		d.fault(at, display, CodeMissing, "the key has no value", "give it one, or take the key away")
		return
	}
	text, isScalar := scalarText(n)
	want, ok := scalarFits(n, v.Type())
	if _, isBool := n.(*ast.BoolNode); isBool && slices.Contains(f.Enum, text) {
		ok = true // one of several words
	}
	if !ok {
		hint := ""
		switch {
		case !isScalar:
		case f.Enum != nil && want == "text":
			hint = "one of " + strings.Join(f.Enum, ", ")
		case v.Kind() == reflect.String && !IsText(v.Type()):
			hint = "quote it"
		case want == "a whole number" && isDecimal(text):
			hint = "take the quotes away"
		case want == "true or false":
			switch strings.ToLower(text) {
			case "yes", "on", "true":
				hint = "write true"
			case "no", "off", "false":
				hint = "write false"
			}
		}
		if hint == "" && f.Example != "" {
			hint = "for example " + f.Name + ": " + f.Example
		}
		d.fault(at, display, CodeWrongType, "needs "+want+", has "+kindName(n), hint)
		return
	}
	if strings.ContainsFunc(text, func(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' }) {
		d.fault(at, display, CodeEncoding, "the text holds a control character", "take it away")
		return
	}
	if err := setText(v, text); err != nil {
		v.SetZero()
		d.textFault(at, display, err)
		return
	}
	d.check(v, f, at, display, text)
}

// scalarFits names what a value of type t is written as and reports whether n is that. Types with
// a text form of their own take numbers too, and judge them.
func scalarFits(n ast.Node, t reflect.Type) (want string, ok bool) {
	switch n := n.(type) {
	case *ast.BoolNode:
		ok = t.Kind() == reflect.Bool && !IsText(t)
	case *ast.IntegerNode:
		ok = IsText(t) || t.Kind() == reflect.Int
	case *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		ok = IsText(t)
	case *ast.StringNode: // a number too large for the parser comes as unquoted text
		ok = IsText(t) || t.Kind() == reflect.String || t.Kind() == reflect.Int && n.Token.Type == token.StringType && isDecimal(n.Value)
	case *ast.LiteralNode:
		ok = IsText(t) || t.Kind() == reflect.String
	}
	switch {
	case IsText(t), t.Kind() == reflect.String:
		want = "text"
	case t.Kind() == reflect.Bool:
		want = "true or false"
	default:
		want = "a whole number"
	}
	return want, ok
}

// isDecimal reports whether s is made of digits alone.
func isDecimal(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

// textFault reports the error of a type's own UnmarshalText.
func (d *Document) textFault(at place, display string, err error) {
	var e *tarn.Error
	if !errors.As(err, &e) {
		e = &tarn.Error{Code: tarn.CodeInvalid, Detail: err.Error()}
	}
	d.fault(at, display, e.Code, e.Detail, e.Hint)
}

// check enforces enum, min and max.
func (d *Document) check(v reflect.Value, f Field, at place, display, text string) {
	if f.Enum != nil && !slices.Contains(f.Enum, text) {
		hint := "one of " + strings.Join(f.Enum, ", ")
		if near := Nearest(text, f.Enum); near != "" {
			hint = "did you mean " + near + "? " + hint
		}
		d.fault(at, display, tarn.CodeInvalid, quote(text)+" is not a value of "+f.Name, hint)
	}
	for i, bound := range []string{f.Min, f.Max} {
		if bound == "" || !v.CanInt() {
			continue
		}
		b := reflect.New(v.Type()).Elem()
		if err := setText(b, bound); err != nil {
			panic("strictyaml: the bound of " + f.Name + ": " + err.Error())
		}
		if i == 0 && v.Int() < b.Int() {
			d.fault(at, display, tarn.CodeInvalid, text+" is too small", "at least "+bound)
		}
		if i == 1 && v.Int() > b.Int() {
			d.fault(at, display, tarn.CodeInvalid, text+" is too large", "at most "+bound)
		}
	}
}

// list decodes a sequence, or the mapping that stands for one.
func (d *Document) list(n ast.Node, v reflect.Value, f Field, canon, display string) {
	elem := Field{Name: f.Name, Example: f.Example}
	switch x := n.(type) {
	case *ast.SequenceNode:
		for i := 0; i < len(x.Values) && !d.stopped; i++ {
			if whole, used := splitByComma(x, i); used > 0 {
				d.fault(position(x.Values[i]), fmt.Sprintf("%s[%d]", display, v.Len()), tarn.CodeInvalid,
					"a comma between [ ] begins a new element", fmt.Sprintf("write %q, with the quotes", whole))
				v.Set(reflect.Append(v, reflect.Zero(v.Type().Elem()))) // so that later elements count as they were meant
				i += used
				continue
			}
			v.Set(reflect.Append(v, reflect.Zero(v.Type().Elem())))
			at := fmt.Sprintf("[%d]", v.Len()-1)
			d.value(x.Values[i], v.Index(v.Len()-1), elem, canon+at, display+at)
		}
	case *ast.MappingNode:
		if f.Shorthand == nil {
			d.wrongType(n, display, "a list", f)
			return
		}
		d.shorthand(x, v, f, canon, display)
	default:
		if _, isScalar := scalarText(n); isScalar && f.Single {
			v.Set(reflect.Append(v, reflect.Zero(v.Type().Elem())))
			d.value(n, v.Index(0), elem, canon+"[0]", display)
			return
		}
		d.wrongType(n, display, "a list", f)
	}
}

// shorthand reads name: type as an element of those two keys.
func (d *Document) shorthand(m *ast.MappingNode, v reflect.Value, f Field, canon, display string) {
	et := v.Type().Elem()
	var nameField, valueField Field
	for _, ef := range Fields(et) {
		switch ef.Name {
		case f.Shorthand[0]:
			nameField = ef
		case f.Shorthand[1]:
			valueField = ef
		}
	}
	d.entries(m, display, func(key string, at place, value ast.Node) {
		if m.IsFlowStyle && strings.Contains(key, ")") && !strings.Contains(key, "(") {
			d.unknownKey(m, key, at, join(display, key), nil)
			return
		}
		v.Set(reflect.Append(v, reflect.Zero(et)))
		el := v.Index(v.Len() - 1)
		base := fmt.Sprintf("%s[%d]", canon, v.Len()-1)
		at.display = join(display, key)
		d.places[base] = at
		d.places[base+"."+nameField.Name] = at
		if err := setText(el.Field(nameField.Index), key); err != nil {
			d.textFault(at, at.display, err)
		}
		d.value(value, el.Field(valueField.Index), valueField, base+"."+valueField.Name, at.display)
	})
}

// splitByComma reports that element i of a flow sequence begins a call, as in [bucket(16, id)],
// whose arguments YAML takes for more elements: what was meant, and how many elements it used.
func splitByComma(s *ast.SequenceNode, i int) (whole string, used int) {
	if !s.IsFlowStyle {
		return "", 0
	}
	var parts []string
	for open := 0; i < len(s.Values) && len(parts) < 8; i++ {
		n, ok := s.Values[i].(*ast.StringNode)
		if !ok && len(parts) == 0 {
			return "", 0
		}
		text, _ := scalarText(s.Values[i])
		if ok && n.Token.Type != token.StringType {
			return "", 0
		}
		parts = append(parts, text)
		open += strings.Count(text, "(") - strings.Count(text, ")")
		if open <= 0 {
			return strings.Join(parts, ", "), len(parts) - 1
		}
	}
	return "", 0
}

func (d *Document) wrongType(n ast.Node, display, want string, f Field) {
	hint := ""
	if f.Example != "" {
		hint = "for example " + f.Name + ": " + f.Example
	}
	d.fault(position(n), display, CodeWrongType, "needs "+want+", has "+kindName(n), hint)
}

// scalarText returns the text of a scalar as it was meant: the value of a string, and of the
// others what stands in the file.
func scalarText(n ast.Node) (string, bool) {
	switch x := n.(type) {
	case *ast.StringNode:
		return x.Value, true
	case *ast.LiteralNode:
		if x.Value == nil {
			return "", true
		}
		return x.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return n.GetToken().Value, true
	}
	return "", false
}

// kindName names the kind of n for a fault.
func kindName(n ast.Node) string {
	switch n.(type) {
	case *ast.StringNode, *ast.LiteralNode:
		return "text"
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return "a number"
	case *ast.BoolNode:
		return "true or false"
	case *ast.NullNode:
		return "nothing"
	case *ast.SequenceNode:
		return "a list"
	case *ast.MappingNode, *ast.MappingValueNode:
		return "keys and values"
	}
	return "something else"
}

// parseInt reads a plain decimal number: 010 is eight to YAML 1.1 and ten to its reader.
func parseInt(s string) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err == nil && strconv.FormatInt(n, 10) == s {
		return n, nil
	}
	return 0, &tarn.Error{Code: tarn.CodeInvalid, Detail: quote(s) + " is not a whole number", Hint: "write plain decimal digits"}
}

// clip shortens text for a message and keeps it on one line.
func clip(s string) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '·'
		}
		return r
	}, s)
	if r := []rune(s); len(r) > 60 {
		return string(r[:60]) + "…"
	}
	return s
}

func quote(s string) string {
	if r := []rune(s); len(r) > 60 {
		s = string(r[:60]) + "…"
	}
	return strconv.Quote(s)
}
