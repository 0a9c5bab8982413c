package project

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/tarn-data/tarn/project/internal/strictyaml"
	v1 "github.com/tarn-data/tarn/project/v1"
)

//go:generate go test . -count=1 -run ^TestGeneratedFiles$ -update

// described is a type that gives the JSON Schema of its own text form.
type described interface{ JSONSchema() map[string]any }

// JSONSchema returns the JSON Schema (draft 7, the one that YAML editors know best) of tarn.yaml and
// of pipeline, function, crawler, twin and extract files, generated from the model. schema.json beside this file holds the same bytes.
func JSONSchema() []byte {
	ref := func(name string) map[string]any { return map[string]any{"$ref": "#/definitions/" + name} }
	has := func(key string) map[string]any { return map[string]any{"required": []string{key}} }
	root := map[string]any{
		"$schema":     "http://json-schema.org/draft-07/schema#",
		"$id":         "https://tarn-data.github.io/schema/v1.json",
		"title":       "Tarn project",
		"description": "tarn.yaml, a pipeline under pipelines/, function.yaml under functions/NAME/, a crawler under crawlers/, a twin under twins/, or an extract under extracts/",
		"type":        "object",
		"if":          has("version"),
		"then":        ref("project"),
		"else":        map[string]any{"if": has("runtime"), "then": ref("function"), "else": map[string]any{"if": has("crawler"), "then": ref("crawler"), "else": map[string]any{"if": has("twin"), "then": ref("twin"), "else": map[string]any{"if": has("extract"), "then": ref("extract"), "else": ref("pipeline")}}}},
		"definitions": map[string]any{
			"project":  structSchema(reflect.TypeFor[v1.Project]()),
			"pipeline": structSchema(reflect.TypeFor[v1.Pipeline]()),
			"function": structSchema(reflect.TypeFor[v1.Function]()),
			"crawler":  structSchema(reflect.TypeFor[v1.Crawler]()),
			"twin":     structSchema(reflect.TypeFor[v1.Twin]()),
			"extract":  structSchema(reflect.TypeFor[v1.Extract]()),
		},
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(root); err != nil {
		panic(err) // maps of strings always marshal
	}
	return b.Bytes()
}

func structSchema(t reflect.Type) map[string]any {
	props, required := map[string]any{}, []string{}
	for _, f := range strictyaml.Fields(t) {
		props[f.Name] = fieldSchema(f)
		if f.Required {
			required = append(required, f.Name)
		}
	}
	s := map[string]any{"type": "object", "additionalProperties": false, "properties": props}
	if len(required) > 0 {
		s["required"] = required
	}
	return s
}

func fieldSchema(f strictyaml.Field) map[string]any {
	s := typeSchema(f.Type, f)
	if f.Doc != "" {
		doc := f.Doc
		if f.Default != "" {
			doc += " Default: `" + f.Default + "`."
		}
		s["description"], s["markdownDescription"] = strings.ReplaceAll(doc, "`", ""), doc
	}
	if f.Default != "" {
		s["default"] = literal(f.Default, f.Type)
	}
	if f.Enum != nil {
		values := []any{}
		for _, v := range f.Enum {
			values = append(values, literal(v, f.Type))
			if f.Type.Kind() == reflect.String && (v == "true" || v == "false") { // without quotes
				values, s["type"] = append(values, v == "true"), []string{"string", "boolean"}
			}
		}
		s["enum"] = values
	}
	if t := f.Type.Kind(); t == reflect.Int && !strictyaml.IsText(f.Type) {
		if f.Min != "" {
			s["minimum"] = literal(f.Min, f.Type)
		}
		if f.Max != "" {
			s["maximum"] = literal(f.Max, f.Type)
		}
	}
	return s
}

func typeSchema(t reflect.Type, f strictyaml.Field) map[string]any {
	if d, ok := reflect.Zero(t).Interface().(described); ok && t.Kind() != reflect.Pointer {
		return d.JSONSchema()
	}
	switch {
	case strictyaml.IsText(t), t.Kind() == reflect.String:
		return map[string]any{"type": "string"}
	case t.Kind() == reflect.Bool:
		return map[string]any{"type": "boolean"}
	case t.Kind() == reflect.Int:
		return map[string]any{"type": "integer"}
	case t.Kind() == reflect.Slice:
		list := map[string]any{"type": "array", "items": typeSchema(t.Elem(), strictyaml.Field{})}
		if f.Single {
			return map[string]any{"anyOf": []any{list["items"], list}}
		}
		if f.Shorthand == nil {
			return list
		}
		value := shorthandValue(t.Elem(), f.Shorthand[1])
		return map[string]any{"anyOf": []any{map[string]any{"type": "object", "additionalProperties": value, "minProperties": 1}, list}}
	case t.Kind() == reflect.Pointer:
		s := structSchema(t.Elem())
		s["type"] = []string{"object", "null"} // http: with nothing behind it
		return s
	}
	return structSchema(t)
}

// shorthandValue returns the schema of what stands behind a key of a shorthand mapping.
func shorthandValue(elem reflect.Type, key string) map[string]any {
	for _, f := range strictyaml.Fields(elem) {
		if f.Name == key {
			return typeSchema(f.Type, f)
		}
	}
	panic("project: a shorthand names no key of " + elem.String()) // a test generates the whole model
}

// literal returns the JSON value of a text form in a tag.
func literal(text string, t reflect.Type) any {
	switch {
	case strictyaml.IsText(t):
		return text
	case t.Kind() == reflect.Bool:
		return text == "true"
	case t.Kind() == reflect.Int:
		n, err := strconv.Atoi(text)
		if err != nil {
			panic(err) // a test generates the whole model
		}
		return n
	}
	return text
}

// Reference returns the description of every key in Markdown, generated from the model.
// REFERENCE.md beside this file holds the same bytes.
func Reference() []byte {
	var b strings.Builder
	b.WriteString("# The project files\n\nGenerated from the model; every key that may stand in a project, and nothing else.\n\n" +
		"A duration is a number and a unit, `500ms`, `60s`, `1h30m`, `168h`, `7d` or `2w`. A size is a number and a unit, `64KiB`, `128MiB` or `1GB`. " +
		"A name begins with `a-z` and goes on with `a-z`, `0-9` and `_`, at most 63 in all.\n")
	section(&b, "tarn.yaml", "The settings of the project.", reflect.TypeFor[v1.Project]())
	section(&b, "pipelines/NAME.yaml", "One pipeline in each file.", reflect.TypeFor[v1.Pipeline]())
	section(&b, "functions/NAME/function.yaml", "One function in each folder, beside its code.", reflect.TypeFor[v1.Function]())
	section(&b, "crawlers/NAME.yaml", "One crawler in each file.", reflect.TypeFor[v1.Crawler]())
	section(&b, "twins/NAME.yaml", "One twin in each file.", reflect.TypeFor[v1.Twin]())
	section(&b, "extracts/NAME.yaml", "One extract in each file.", reflect.TypeFor[v1.Extract]())
	return []byte(b.String())
}

func section(b *strings.Builder, title, intro string, t reflect.Type) {
	fmt.Fprintf(b, "\n## %s\n\n%s\n\n| Key | Default | Meaning |\n|---|---|---|\n", title, intro)
	rows(b, "", t)
}

// rows writes a table row for each key of t and those under it.
func rows(b *strings.Builder, prefix string, t reflect.Type) {
	for _, f := range strictyaml.Fields(t) {
		def := ""
		switch {
		case f.Required:
			def = "required"
		case f.Default != "":
			def = "`" + f.Default + "`"
		}
		doc := f.Doc
		if len(f.Enum) > 1 {
			doc += " One of `" + strings.Join(f.Enum, "`, `") + "`."
		}
		switch {
		case f.Min != "" && f.Max != "":
			doc += fmt.Sprintf(" From `%s` to `%s`.", f.Min, f.Max)
		case f.Min != "":
			doc += fmt.Sprintf(" At least `%s`.", f.Min)
		}
		path := prefix + f.Name
		fmt.Fprintf(b, "| `%s` | %s | %s |\n", path, cmp.Or(def, " "), strings.ReplaceAll(doc, "|", `\|`))
		ft := f.Type
		if ft.Kind() == reflect.Slice {
			ft, path = ft.Elem(), path+"[]"
		}
		if ft.Kind() == reflect.Pointer {
			ft = ft.Elem()
		}
		if ft.Kind() == reflect.Struct && !strictyaml.IsText(ft) {
			rows(b, path+".", ft)
		}
	}
}
