package strictyaml

import (
	"encoding"
	"reflect"
	"strings"
)

// Field is one key of a model struct with the rules of its tags.
type Field struct {
	Name      string
	Index     int
	Type      reflect.Type
	Doc       string
	Required  bool
	Default   string
	Enum      []string
	Min, Max  string
	Example   string
	Shorthand []string // the keys of the element that a mapping's key and value stand for
	Single    bool     // a list of one may be written as its element
}

// Fields returns the keys of a struct type in the order of its text. Fields without a json tag are
// not part of the model.
func Fields(t reflect.Type) []Field {
	var out []Field
	for i := range t.NumField() {
		sf := t.Field(i)
		name, _, _ := strings.Cut(sf.Tag.Get("json"), ",")
		if name == "" || name == "-" {
			continue
		}
		f := Field{Name: name, Index: i, Type: sf.Type, Doc: strings.ReplaceAll(sf.Tag.Get("doc"), "'", "`"), Required: sf.Tag.Get("required") == "true",
			Default: sf.Tag.Get("default"), Min: sf.Tag.Get("min"), Max: sf.Tag.Get("max"), Example: sf.Tag.Get("example"), Single: sf.Tag.Get("single") == "true"}
		if e := sf.Tag.Get("enum"); e != "" {
			f.Enum = strings.Split(e, ",")
		}
		if s := sf.Tag.Get("shorthand"); s != "" {
			f.Shorthand = strings.Split(s, ",")
		}
		out = append(out, f)
	}
	return out
}

var textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()

// IsText reports whether values of t are read from text by their own UnmarshalText.
func IsText(t reflect.Type) bool { return reflect.PointerTo(t).Implements(textUnmarshaler) }

// takesKeys reports whether a type with a text form may be written as keys and values instead.
func takesKeys(t reflect.Type) bool { return t.Kind() == reflect.Struct && len(Fields(t)) > 0 }

// setText sets v from the text form of its type; strings, integers and booleans take their own.
func setText(v reflect.Value, text string) error {
	if IsText(v.Type()) {
		return v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(text))
	}
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(text == "true")
	case reflect.Int, reflect.Int64:
		n, err := parseInt(text)
		if err != nil {
			return err
		}
		v.SetInt(n)
	default:
		v.SetString(text)
	}
	return nil
}

// keysNamed returns the paths under t, a struct, at which a key of that name stands, in any
// spelling, the outermost ones first; list elements are written as [].
func keysNamed(t reflect.Type, name string) []string {
	type level struct {
		t    reflect.Type
		path string
	}
	var out []string
	for queue := []level{{t, ""}}; len(queue) > 0; queue = queue[1:] {
		for _, f := range Fields(queue[0].t) {
			path := join(queue[0].path, f.Name)
			if fold(f.Name) == fold(name) {
				out = append(out, path)
			}
			ft := f.Type
			if ft.Kind() == reflect.Slice {
				ft, path = ft.Elem(), path+"[]"
			}
			if ft.Kind() == reflect.Pointer {
				ft = ft.Elem()
			}
			if ft.Kind() == reflect.Struct && !IsText(ft) {
				queue = append(queue, level{ft, path})
			}
		}
	}
	return out
}

// join appends a key to a path, quoting what would not read as one key.
func join(path, key string) string {
	plain := key != "" && strings.IndexFunc(key, func(r rune) bool {
		return !(r == '_' || r == '-' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z')
	}) < 0
	switch {
	case !plain:
		return path + "[" + quote(key) + "]"
	case path == "":
		return key
	}
	return path + "." + key
}
