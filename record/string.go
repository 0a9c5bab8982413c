package record

import (
	"math/bits"
	"unicode/utf8"
)

// str scans a string from b[i], anywhere inside it but not in the middle of an escape or a letter,
// and returns the index after its closing quote. With a hard fault the index is where that is.
func (s *scanner) str(b []byte, i int) (int, fault) {
	n := len(b)
	for i < n {
		switch c := b[i]; {
		case c == '"':
			return i + 1, ""
		case c == '\\':
			var hard fault
			if i, hard = s.escape(b, i); hard != "" {
				return i, hard
			}
		case c < ' ':
			return i, faultControl
		case c < utf8.RuneSelf:
			i++
			for i+8 <= n {
				if m := special(load(b, i)); m != 0 {
					i += bits.TrailingZeros64(m) >> 3
					break
				}
				i += 8
			}
		default:
			r, w := utf8.DecodeRune(b[i:])
			if r == utf8.RuneError && w == 1 && s.soft == "" {
				s.soft, s.softPos = faultUTF8, i
			}
			i += w
		}
	}
	return i, faultEnd
}

// escape scans the escape that begins at b[i] with a backslash, a surrogate pair as one.
func (s *scanner) escape(b []byte, i int) (int, fault) {
	if i+1 >= len(b) {
		return len(b), faultEnd
	}
	switch b[i+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 2, ""
	case 'u':
	default:
		return i + 1, faultEscape
	}
	r, ok := hex4(b, i+2)
	if !ok {
		return i + 2, faultEscape
	}
	if r&0xf800 != 0xd800 { // no surrogate
		return i + 6, ""
	}
	if r < 0xdc00 && i+8 <= len(b) && b[i+6] == '\\' && b[i+7] == 'u' {
		if low, ok := hex4(b, i+8); ok && low&0xfc00 == 0xdc00 {
			return i + 12, ""
		}
	}
	if s.soft == "" {
		s.soft, s.softPos = faultSurrogate, i
	}
	return i + 6, ""
}

// hex4 reads four hexadecimal digits at b[i].
func hex4(b []byte, i int) (uint32, bool) {
	if i+4 > len(b) {
		return 0, false
	}
	var r uint32
	for _, c := range b[i : i+4] {
		switch {
		case c-'0' <= 9:
			c -= '0'
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			return 0, false
		}
		r = r<<4 | uint32(c)
	}
	return r, true
}

// AppendUnescaped appends what a JSON string says to dst. Content is what stands between its quotes, and
// valid, surrogates in pairs; anything else panics or gives any text.
func AppendUnescaped(dst, content []byte) []byte {
	for i := 0; i < len(content); {
		if content[i] != '\\' {
			dst = append(dst, content[i])
			i++
			continue
		}
		switch c := content[i+1]; c {
		case 'b':
			dst = append(dst, '\b')
		case 'f':
			dst = append(dst, '\f')
		case 'n':
			dst = append(dst, '\n')
		case 'r':
			dst = append(dst, '\r')
		case 't':
			dst = append(dst, '\t')
		case 'u':
			r, _ := hex4(content, i+2)
			if r&0xf800 == 0xd800 {
				low, _ := hex4(content, i+8)
				r = 0x10000 + (r&0x3ff)<<10 + low&0x3ff
				i += 6
			}
			dst = utf8.AppendRune(dst, rune(r))
			i += 4
		default: // a quote, a slash
			dst = append(dst, c)
		}
		i += 2
	}
	return dst
}
