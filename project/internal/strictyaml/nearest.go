package strictyaml

import (
	"strings"
	"unicode"
)

// Nearest returns the word of known that was most likely meant, or "": the same word in another
// spelling (partitionBy, partition-by), the one it begins (partition), or the closest by edit
// distance when no more than a third of its letters differ.
func Nearest(word string, known []string) string {
	if len(word) > 64 {
		return ""
	}
	w := fold(word)
	best, bestDist := "", 1+max(1, len(w)/3)
	for _, k := range known {
		f := fold(k)
		if f == w {
			return k
		}
		if d := distance(w, f); d < bestDist {
			best, bestDist = k, d
		}
	}
	if best == "" && len(w) >= 4 {
		for _, k := range known {
			if f := fold(k); strings.HasPrefix(f, w) || len(f) >= 4 && strings.HasPrefix(w, f) {
				return k
			}
		}
	}
	return best
}

// fold takes away what spellings of one key differ in.
func fold(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '_' || r == '-' || r == ' ' {
			return -1
		}
		return unicode.ToLower(r)
	}, s)
}

// distance is the Damerau-Levenshtein distance (optimal string alignment) over bytes.
func distance(a, b string) int {
	prev2, prev, cur := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], prev2[j-2]+1)
			}
		}
		prev2, prev, cur = prev, cur, prev2
	}
	return prev[len(b)]
}
