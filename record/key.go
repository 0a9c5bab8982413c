package record

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
// or literal, the content of a string with its escapes resolved. Where a key repeats the last one
// counts. It reports false where the path leads to nothing, null, an object or an array.
func lookup(rec []byte, path []string) ([]byte, bool) {
	node, err := Inspect(rec)
	if err != nil {
		return nil, false
	}
	for _, key := range path {
		if node = node.Member(key); node == nil {
			return nil, false
		}
	}
	switch node.Class {
	case Null, Object, Array:
		return nil, false
	}
	return []byte(node.Text), true
}
