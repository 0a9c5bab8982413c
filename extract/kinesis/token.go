package kinesis

import "strings"

// kind is what a token is.
type kind uint8

const (
	end    kind = iota
	word        // an identifier or keyword without quotes
	quoted      // an identifier in double quotes; its text is without them
	text        // a string in single quotes, with them
	number
	symbol
)

type token struct {
	kind kind
	text string
	line int
}

// is reports whether a token is a keyword or symbol.
func (t token) is(s string) bool {
	return (t.kind == word || t.kind == symbol) && strings.EqualFold(t.text, s)
}

// name returns the name that an identifier means: without quotes it is in upper case.
func (t token) name() string {
	if t.kind == word {
		return strings.ToUpper(t.text)
	}
	return t.text
}

func (t token) isName() bool { return t.kind == word || t.kind == quoted }

// scan splits a script into tokens. Comments are left out. What does not end is reported.
func scan(src string) (tokens []token, problems []Problem) {
	line := 1
	for i := 0; i < len(src); {
		c := src[i]
		begin, at := i, line
		switch {
		case c == '\n':
			line++
			i++
			continue
		case c == ' ' || c == '\t' || c == '\r' || c == '\f' || c == '\v':
			i++
			continue
		case strings.HasPrefix(src[i:], "--") || strings.HasPrefix(src[i:], "//"):
			for i < len(src) && src[i] != '\n' {
				i++
			}
			continue
		case strings.HasPrefix(src[i:], "/*"):
			n := strings.Index(src[i+2:], "*/")
			if n < 0 {
				return tokens, append(problems, Problem{at, "/*", "the comment does not end"})
			}
			line += strings.Count(src[i:i+2+n], "\n")
			i += n + 4
			continue
		case c == '"' || c == '\'':
			var ok bool
			if i, ok = quoteEnd(src, i); !ok {
				return tokens, append(problems, Problem{at, string(c), "the quotes do not end"})
			}
			body := src[begin:i]
			line += strings.Count(body, "\n")
			if c == '"' {
				tokens = append(tokens, token{quoted, strings.ReplaceAll(body[1:len(body)-1], `""`, `"`), at})
			} else {
				tokens = append(tokens, token{text, body, at})
			}
			continue
		case isDigit(c):
			for i < len(src) && (isDigit(src[i]) || src[i] == '.' || isLetter(src[i])) {
				i++
			}
			tokens = append(tokens, token{number, src[begin:i], at})
			continue
		case isLetter(c):
			for i < len(src) && (isLetter(src[i]) || isDigit(src[i])) {
				i++
			}
			tokens = append(tokens, token{word, src[begin:i], at})
			continue
		}
		i++
		for _, two := range []string{"||", "<>", "<=", ">=", "!="} {
			if strings.HasPrefix(src[begin:], two) {
				i = begin + 2
			}
		}
		tokens = append(tokens, token{symbol, src[begin:i], at})
	}
	return tokens, problems
}

// quoteEnd returns where quotes that begin at i end; a doubled quote does not end them.
func quoteEnd(src string, i int) (int, bool) {
	quote := src[i]
	for i++; i < len(src); i++ {
		if src[i] != quote {
			continue
		}
		if i+1 < len(src) && src[i+1] == quote {
			i++
			continue
		}
		return i + 1, true
	}
	return len(src), false
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isLetter(c byte) bool {
	return c == '_' || c == '$' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80
}
