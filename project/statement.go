package project

import "strings"

// trimStatement takes the semicolons, blanks and comments off the end of one statement, so that
// it can stand in parentheses. A semicolon within the statement stays, for CheckSQL to refuse.
// Quotes, escape strings, dollar quotes and nested comments are read as DuckDB reads them.
func trimStatement(sql string) string {
	end, semicolon := 0, false // behind the last character that counts; whether one came after it
	for i := 0; i < len(sql); {
		next, counts := sqlToken(sql, i)
		switch {
		case counts:
			end, semicolon = next, false
		case sql[i] == ';':
			semicolon = true
		}
		i = next
	}
	if !semicolon {
		return sql
	}
	return sql[:end]
}

// sqlToken returns where the token at i ends and whether it is more than a blank, a comment or a
// semicolon. What does not end runs to the end of the text.
func sqlToken(sql string, i int) (next int, counts bool) {
	rest := sql[i:]
	switch c := sql[i]; {
	case strings.IndexByte(" \t\r\n\f\v;", c) >= 0:
		return i + 1, false
	case strings.HasPrefix(rest, "--"):
		if n := strings.IndexByte(rest, '\n'); n >= 0 {
			return i + n, false
		}
		return len(sql), false
	case strings.HasPrefix(rest, "/*"):
		return commentEnd(sql, i), false
	case c == '\'' || c == '"':
		return quoteEnd(sql, i+1, c, false), true
	case (c == 'e' || c == 'E') && strings.HasPrefix(rest[1:], "'") && (i == 0 || !isIdent(sql[i-1])):
		return quoteEnd(sql, i+2, '\'', true), true
	case c == '$' && (i == 0 || !isIdent(sql[i-1])):
		if tag := dollarTag(rest); tag != "" {
			if n := strings.Index(rest[len(tag):], tag); n >= 0 {
				return i + len(tag) + n + len(tag), true
			}
			return len(sql), true
		}
	}
	return i + 1, true
}

// commentEnd returns where the comment that begins at i ends; comments nest.
func commentEnd(sql string, i int) int {
	depth := 0
	for ; i < len(sql); i++ {
		switch {
		case strings.HasPrefix(sql[i:], "/*"):
			depth, i = depth+1, i+1
		case strings.HasPrefix(sql[i:], "*/"):
			if depth, i = depth-1, i+1; depth == 0 {
				return i + 1
			}
		}
	}
	return len(sql)
}

// quoteEnd returns where the text in quotes whose first character is at i ends.
func quoteEnd(sql string, i int, quote byte, escapes bool) int {
	for ; i < len(sql); i++ {
		switch {
		case escapes && sql[i] == '\\':
			i++
		case sql[i] == quote && i+1 < len(sql) && sql[i+1] == quote:
			i++
		case sql[i] == quote:
			return i + 1
		}
	}
	return len(sql)
}

// dollarTag returns the $$ or $tag$ that s begins with, or "".
func dollarTag(s string) string {
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '$':
			return s[:i+1]
		case !isIdent(s[i]) || i == 1 && s[i] >= '0' && s[i] <= '9':
			return ""
		}
	}
	return ""
}

func isIdent(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80
}
