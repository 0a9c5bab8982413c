package strictyaml

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"github.com/tarn-data/tarn"
)

// Bounds of one document (I8). The parser's time grows with the square of the keys of one mapping,
// and the tokens bound it to about half a second.
const (
	MaxBytes  = 256 << 10
	maxTokens = 20_000
	maxDepth  = 64
	maxVisits = 50_000 // values decoded, each expansion of an alias counted
	maxFaults = 100
)

// Document is one parsed YAML document. It is not safe for concurrent use.
type Document struct {
	lines   []string
	root    ast.Node
	model   reflect.Type // what Decode fills
	anchors map[string][]anchor
	places  map[string]place
	faults  []Fault
	visits  int
	stopped bool
}

// anchor is one definition of a name; an alias takes the last one before it.
type anchor struct {
	offset int
	value  ast.Node
}

// place is where a value stands and the path to show for it.
type place struct {
	line, col int
	display   string
	literal   bool // a | block, whose text begins on the next line
}

// Parse reads src, which must hold exactly one document whose root is a mapping. A document is
// returned only without faults.
func Parse(src []byte) (*Document, []Fault) {
	src = bytes.TrimPrefix(src, []byte("\xef\xbb\xbf"))
	if f := checkText(src); f != nil {
		return nil, []Fault{*f}
	}
	d := &Document{lines: strings.Split(string(src), "\n"), anchors: map[string][]anchor{}, places: map[string]place{}}
	file, f := parse(string(src))
	if f != nil {
		f.Line = min(f.Line, len(d.lines)) // the parser counts some line ends twice
		return nil, []Fault{*f}
	}
	for _, doc := range file.Docs {
		if _, directive := doc.Body.(*ast.DirectiveNode); directive || doc.Body == nil {
			continue
		}
		if d.root != nil {
			at := position(doc.Body)
			return nil, []Fault{{Line: min(at.line, len(d.lines)), Col: at.col, Code: CodeSyntax, Detail: "a second document begins here",
				Hint: "keep one document in a file, without ---"}}
		}
		d.root = doc.Body
	}
	if d.root == nil {
		return nil, []Fault{{Line: 1, Col: 1, Code: CodeMissing, Detail: "the file is empty"}}
	}
	ast.Walk(anchorCollector{d}, d.root)
	return d, nil
}

// checkText refuses what is not readable text.
func checkText(src []byte) *Fault {
	if len(src) > MaxBytes {
		return &Fault{Line: 1, Col: 1, Code: tarn.CodeTooLarge, Detail: fmt.Sprintf("the file has more than %d KiB", MaxBytes>>10),
			Hint: "a project file is written by hand; is this data?"}
	}
	line, col := 1, 1
	for i := 0; i < len(src); {
		r, n := utf8.DecodeRune(src[i:])
		switch {
		case r == utf8.RuneError && n <= 1:
			return &Fault{Line: line, Col: col, Code: CodeEncoding, Detail: fmt.Sprintf("byte 0x%02X is not UTF-8", src[i]), Hint: "save the file as UTF-8"}
		case r == '\r' && !bytes.HasPrefix(src[i:], []byte("\r\n")):
			return &Fault{Line: line, Col: col, Code: CodeEncoding, Detail: "a carriage return stands here without a line feed", Hint: "save the file with LF or CRLF line ends"}
		case r < ' ' && r != '\t' && r != '\n' && r != '\r', r == 0x7f:
			return &Fault{Line: line, Col: col, Code: CodeEncoding, Detail: fmt.Sprintf("the control character U+%04X stands here", r), Hint: "save the file as UTF-8 text"}
		}
		i, col = i+n, col+1
		if r == '\n' {
			line, col = line+1, 1
		}
	}
	return nil
}

// parse runs the lexer and the parser within the bounds.
func parse(src string) (file *ast.File, fault *Fault) {
	defer func() {
		// The parser is foreign code under hostile input: a panic there is a fault of the file.
		if r := recover(); r != nil {
			file, fault = nil, &Fault{Line: 1, Col: 1, Code: CodeSyntax, Detail: "the file cannot be read as YAML"}
		}
	}()
	tokens := lexer.Tokenize(src)
	if f := checkTokens(tokens); f != nil {
		return nil, f
	}
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey()) // duplicates are reported by Decode, all of them
	if err != nil {
		return nil, syntaxFault(err)
	}
	return file, nil
}

// checkTokens bounds the size and the nesting before the recursive parser sees them.
func checkTokens(tokens token.Tokens) *Fault {
	open, line, onLine := 0, 0, 0
	for i, t := range tokens {
		if t.Position.Line != line {
			line, onLine = t.Position.Line, 0
		}
		switch t.Type {
		case token.SequenceStartType, token.MappingStartType:
			open++
		case token.SequenceEndType, token.MappingEndType:
			open = max(0, open-1)
		case token.SequenceEntryType, token.MappingKeyType, token.AnchorType, token.TagType:
			onLine++
		}
		switch {
		case i >= maxTokens:
			return &Fault{Line: t.Position.Line, Col: t.Position.Column, Code: tarn.CodeTooLarge, Detail: "the file has too many values"}
		case open+onLine > maxDepth:
			return &Fault{Line: t.Position.Line, Col: t.Position.Column, Code: tarn.CodeTooLarge, Detail: fmt.Sprintf("the nesting is deeper than %d", maxDepth)}
		}
	}
	return nil
}

// syntaxFault puts the parser's error into our words where ours are better.
func syntaxFault(err error) *Fault {
	f := &Fault{Line: 1, Col: 1, Code: CodeSyntax, Detail: "the file cannot be read as YAML"}
	var se *yaml.SyntaxError
	if !errors.As(err, &se) {
		return f
	}
	f.Detail = clip(se.Message)
	if se.Token != nil && se.Token.Position != nil {
		f.Line, f.Col = max(1, se.Token.Position.Line), max(1, se.Token.Position.Column)
	}
	switch {
	case strings.Contains(se.Message, "'\t'"):
		f.Detail, f.Hint = "a tab stands where YAML wants spaces", "indent with spaces"
	case strings.HasPrefix(f.Detail, "mapping value is not allowed"):
		f.Detail, f.Hint = "a key cannot stand here", "check the indentation, or quote the text if it holds a colon"
	case strings.Contains(f.Detail, "reserved character"):
		f.Hint = "quote the text"
	case strings.HasPrefix(f.Detail, "could not find end character"):
		f.Hint = "close the quotes"
	case strings.HasPrefix(f.Detail, "unexpected directive"):
		f.Detail, f.Hint = "text cannot begin with %", "quote the text"
	case strings.Contains(f.Detail, "value is not allowed in this context"):
		f.Detail, f.Hint = "a value cannot stand here", "check the indentation of this line and the one before"
	}
	return f
}

// anchorCollector notes every anchor, in the order of the text.
type anchorCollector struct{ d *Document }

// Visit implements ast.Visitor.
func (c anchorCollector) Visit(n ast.Node) ast.Visitor {
	if a, ok := n.(*ast.AnchorNode); ok && a.Name != nil {
		name := a.Name.GetToken().Value
		c.d.anchors[name] = append(c.d.anchors[name], anchor{a.GetToken().Position.Offset, a.Value})
	}
	return c
}

// position returns where n begins.
func position(n ast.Node) place {
	if m, ok := n.(*ast.MappingNode); ok && !m.IsFlowStyle && len(m.Values) > 0 {
		n = m.Values[0].Key
	}
	p := place{line: 1, col: 1}
	if t := n.GetToken(); t != nil && t.Position != nil {
		p.line, p.col = max(1, t.Position.Line), max(1, t.Position.Column)
	}
	if l, ok := n.(*ast.LiteralNode); ok && l.Start != nil {
		p.line, p.col = l.Start.Position.Line, l.Start.Position.Column
		p.literal = strings.HasPrefix(l.Start.Value, "|")
	}
	return p
}
