package filedrop

import (
	"bytes"
	"encoding/hex"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	b3 "lukechampine.com/blake3"
)

// TestBLAKE3Vectors holds the hash to vectors of its specification: bytes that count to 250, over and over.
func TestBLAKE3Vectors(t *testing.T) {
	input := make([]byte, 100_000)
	for i := range input {
		input[i] = byte(i % 251)
	}
	for n, want := range map[int]string{
		0:       "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262",
		1:       "2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213",
		1024:    "42214739f095a406f3fc83deb889744ac00df831c10daa55189b5d121c855af7",
		1025:    "d00278ae47eb27b34faecf67b4fe263f82d5412916c1ffd97c8cb7fb814b8444",
		16384:   "f875d6646de28985646f34ee13be9a576fd515f76b5b0a26bb324735041ddde4",
		31744:   "62b6960e1a44bcc1eb1a611a8d6235b6b4b78f32e7abc4fb4c6cdcce94895c47",
		100_000: "d93c23eedaf165a7e0be908ba86f1a7a520d568d2d13cde787c8580c5c72cc54",
	} {
		h := byBLAKE3.new()
		_, _ = h.Write(input[:n])
		if got := hex.EncodeToString(h.Sum(nil)); got != want {
			t.Errorf("%d bytes: %s", n, got)
		}
	}
}

// TestBLAKE3 compares with the hasher of the library, whatever the lengths and the pieces, and after Sum goes on.
func TestBLAKE3(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	input := randomBytes(rng, 40*blockBytes)
	h := byBLAKE3.new()
	for range 300 {
		h.Reset()
		all := 0
		for range 8 {
			near := []int{0, 64, 1024, blockBytes, 2 * blockBytes, 4 * blockBytes}[rng.IntN(6)]
			n := max(0, near+rng.IntN(5)-2)
			_, _ = h.Write(input[all : all+n])
			all += n
			if want := b3.Sum256(input[:all]); !bytes.Equal(h.Sum(nil), want[:]) {
				t.Fatalf("%d bytes", all)
			}
		}
	}
}

// TestTakenByOlder: files that an older version named by SHA-256 keep their names. Their bytes are duplicates, may be
// taken once more, go on after damage, and are verified.
func TestTakenByOlder(t *testing.T) {
	s := newSite(t, 1)
	s.o.Folder = ""
	s.open()
	push := func(name, text string, again bool) Outcome {
		out, _ := s.door.Push(t.Context(), name, strings.NewReader(text), PushOptions{Again: again})
		return out
	}
	s.door.hashes = bySHA256
	older := push("a.csv", "a\n1\n", false)
	cut := push("cut.json", `[{"a":1},{"a":2},`, false)
	s.door.hashes = byBLAKE3

	if got := push("b.csv", "a\n1\n", false); !got.Duplicate || got.TakenAs != "a.csv" || got.Hash != older.Hash {
		t.Errorf("the same bytes: %+v", got)
	}
	if got := push("c.csv", "a\n2\n", false); got.Duplicate || got.Hash != hashOf("a\n2\n") {
		t.Errorf("other bytes of that size: %+v", got)
	}
	if got := push("c.csv", "a\n2\n", false); !got.Duplicate {
		t.Errorf("the same bytes by their new name: %+v", got)
	}
	if got := push("a.csv", "a\n1\n", true); got.Duplicate || got.Take != 1 || got.Hash != older.Hash {
		t.Errorf("taken once more: %+v", got)
	}
	if got := push("cut.json", `[{"a":1},{"a":2},`, false); cut.Accepted != 2 || got.Accepted != 2 || got.Hash != cut.Hash {
		t.Errorf("what failed: %+v, then %+v", cut, got)
	}
	s.want("a.csv:2 1", "a.csv:2 1", "c.csv:2 2", "cut.json:1 1", "cut.json:2 2")

	var algorithms []string
	if err := s.door.o.Originals.Each(t.Context(), func(f TakenFile) error {
		algorithms = append(algorithms, f.File+" "+f.Algorithm)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	slices.Sort(algorithms)
	if want := []string{"a.csv sha256", "a.csv sha256", "c.csv blake3", "cut.json sha256"}; !slices.Equal(algorithms, want) {
		t.Errorf("%v", algorithms)
	}
	bad := s.damaged()
	if len(bad) > 0 {
		t.Errorf("nothing is damaged: %v", bad)
	}
	for _, key := range s.originals() {
		if err := s.bucket.Put(t.Context(), key, strings.NewReader("a\n9\n")); err != nil {
			t.Fatal(err)
		}
	}
	if bad = s.damaged(); len(bad) != 4 { // a row for each time that it was taken
		t.Errorf("all are damaged: %v", bad)
	}
}

// damaged lists what verifying finds.
func (s *site) damaged() (keys []string) {
	s.t.Helper()
	if err := s.door.o.Originals.Verify(s.t.Context(), func(int64) {}, func(key, why string) { keys = append(keys, key+" "+why) }); err != nil {
		s.t.Fatal(err)
	}
	return keys
}
