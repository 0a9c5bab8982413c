package record

import (
	"bytes"
	"math/bits"
)

// ShardOf returns the shard of a partition key: its FNV-1a 64-bit hash modulo the number of
// shards. It is part of the interface: which shard a key is in must not change.
func ShardOf[K ~string | ~[]byte](key K, shards int) int {
	if shards <= 1 {
		return 0
	}
	h := uint64(14695981039346656037)
	for i := range len(key) {
		h = (h ^ uint64(key[i])) * 1099511628211
	}
	return int(h % uint64(shards))
}

// lookup returns the scalar at the path of keys within a valid JSON object: the text of a number
// or literal, the content of a string with its escapes resolved. Where a key repeats the first
// counts, which saves reading the rest. It reports false where the path leads to nothing, null, an
// object or an array.
func lookup(rec []byte, path []string) ([]byte, bool) {
	i := skipBlank(rec, 0)
	for depth := 0; rec[i] == '{'; depth++ {
		if i = member(rec, i, path[depth]); i < 0 {
			return nil, false
		}
		if depth == len(path)-1 {
			return scalar(rec, i)
		}
	}
	return nil, false
}

// member returns where the value of the key begins in the object at b[i], or -1.
func member(b []byte, i int, key string) int {
	i = skipBlank(b, i+1)
	for b[i] != '}' {
		start := i
		i = quoted(b, i)
		raw := b[start+1 : i-1]
		i = skipBlank(b, skipBlank(b, i)+1) // past the colon
		if string(raw) == key || bytes.IndexByte(raw, '\\') >= 0 && text(b, start) == key {
			return i
		}
		i = skipBlank(b, skipValue(b, i))
		if b[i] == ',' {
			i = skipBlank(b, i+1)
		}
	}
	return -1
}

// scalar returns the scalar at b[i] as lookup does.
func scalar(b []byte, i int) ([]byte, bool) {
	switch b[i] {
	case '{', '[', 'n':
		return nil, false
	case '"':
		end := quoted(b, i)
		if raw := b[i+1 : end-1]; bytes.IndexByte(raw, '\\') < 0 {
			return raw, true
		}
		return []byte(text(b, i)), true
	}
	return b[i:skipValue(b, i)], true
}

// text returns the content of the valid string at b[i].
func text(b []byte, i int) string {
	p := inspector{b: b, i: i}
	return p.text()
}

// skipValue returns the index after the valid value at b[i].
func skipValue(b []byte, i int) int {
	depth := 0
	for {
		switch b[i] {
		case '"':
			i = quoted(b, i)
		case '{', '[':
			depth++
			i++
		case '}', ']':
			depth--
			i++
		case ',', ':', ' ', '\t', '\n', '\r':
			i++
			continue // only inside a container
		default:
			for b[i] > ',' && b[i] != ']' && b[i] != '}' || b[i] == '+' {
				i++
			}
		}
		if depth == 0 {
			return i
		}
	}
}

// quoted returns the index after the valid string at b[i].
func quoted(b []byte, i int) int {
	i++
	for i+8 <= len(b) {
		w := load(b, i)
		m := (((w^0x22*ones)-ones)&^(w^0x22*ones) | ((w^0x5c*ones)-ones)&^(w^0x5c*ones)) & highs
		if m == 0 {
			i += 8
			continue
		}
		i += bits.TrailingZeros64(m) >> 3
		if b[i] == '"' {
			return i + 1
		}
		i += 2
	}
	for b[i] != '"' {
		if b[i] == '\\' {
			i++
		}
		i++
	}
	return i + 1
}
