// Package sqltext finds the ends of SQL statements in text as people type it.
//
// Text enters, statements leave; nothing is parsed beyond quotes and comments. The SQL shell and the
// command sql are the callers.
package sqltext

import (
	"strings"
	"unicode/utf8"
)

const blanks = " \t\r\n\f\v"

// Split returns the statements that end in a semicolon, without it, and what follows the last one.
// Statements of nothing but blanks and comments are left out. open says that the rest stands within
// a quote or comment.
func Split(text string) (statements []string, rest string, open bool) {
	start := 0
	for i := 0; i < len(text); {
		next, closed := skip(text, i)
		if !closed {
			return statements, text[start:], true
		}
		if text[i] == ';' {
			if s := text[start:i]; !Blank(s) {
				statements = append(statements, strings.Trim(s, blanks))
			}
			start = next
		}
		i = next
	}
	return statements, text[start:], false
}

// Blank reports whether text holds nothing but blanks and closed comments.
func Blank(text string) bool {
	for i := 0; i < len(text); {
		next, closed := skip(text, i)
		comment := next-i >= 2 && (text[i:i+2] == "--" || text[i:i+2] == "/*")
		if !closed || !comment && !strings.Contains(blanks, text[i:i+1]) {
			return false
		}
		i = next
	}
	return true
}

// skip returns the index after the quote, comment or character that begins at i, and whether a
// quote or comment ends.
func skip(s string, i int) (next int, closed bool) {
	switch c := s[i]; {
	case c == '\'' || c == '"': // a doubled quote ends one text and begins the next, which is as well
		return through(s, i+1, string(c))
	case strings.HasPrefix(s[i:], "--"):
		if next, ok := through(s, i+2, "\n"); ok {
			return next, true
		}
		return len(s), true
	case strings.HasPrefix(s[i:], "/*"):
		return blockComment(s, i)
	case c == '$':
		if tag := dollarTag(s, i); tag != "" {
			return through(s, i+len(tag), tag)
		}
	}
	return i + 1, true
}

func through(s string, from int, end string) (int, bool) {
	if n := strings.Index(s[from:], end); n >= 0 {
		return from + n + len(end), true
	}
	return len(s), false
}

// blockComment ends where as many comments have ended as have begun: they nest.
func blockComment(s string, i int) (int, bool) {
	depth := 0
	for i < len(s) {
		switch {
		case strings.HasPrefix(s[i:], "/*"):
			depth++
			i += 2
		case strings.HasPrefix(s[i:], "*/"):
			depth--
			i += 2
			if depth == 0 {
				return i, true
			}
		default:
			i++
		}
	}
	return len(s), false
}

// dollarTag returns the opening $tag$ of a dollar-quoted text at i, "" when there is none. $1 is a
// parameter.
func dollarTag(s string, i int) string {
	if i > 0 && (word(rune(s[i-1])) || s[i-1] >= utf8.RuneSelf) { // within a name
		return ""
	}
	for j := i + 1; j < len(s); j++ {
		if s[j] == '$' {
			return s[i : j+1]
		}
		if !word(rune(s[j])) || j == i+1 && s[j] >= '0' && s[j] <= '9' {
			return ""
		}
	}
	return ""
}

func word(c rune) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}
