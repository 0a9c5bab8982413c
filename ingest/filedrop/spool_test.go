package filedrop

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/tarn-data/tarn"
)

// TestPour: what arrives at dst is what came from src and what was hashed, whatever the pieces are.
func TestPour(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for range 1000 {
		piece, body := 1+rng.IntN(40), randomBytes(rng, rng.IntN(200))
		var src io.Reader = bytes.NewReader(body)
		if rng.IntN(2) == 0 {
			src = iotest.HalfReader(src)
		}
		var got bytes.Buffer
		h := sha256.New()
		n, err := pour(&got, h, src, piece)
		want := sha256.Sum256(body)
		if err != nil || n != int64(len(body)) || !bytes.Equal(got.Bytes(), body) || !bytes.Equal(h.Sum(nil), want[:]) {
			t.Fatalf("%d of %d bytes in pieces of %d, %v", n, len(body), piece, err)
		}

		broken := errors.New("broken")
		if _, err := pour(io.Discard, h, io.MultiReader(bytes.NewReader(body), iotest.ErrReader(broken)), piece); err != broken {
			t.Fatalf("src fails: %v", err)
		}
		if _, err := pour(admitted{io.Discard, func() error { return broken }}, h, bytes.NewReader(body), piece); err != broken {
			t.Fatalf("dst fails: %v", err)
		}
	}
}

// TestDiskFull: whoever sends a file is told that the disk is full.
func TestDiskFull(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip(err)
	}
	defer full.Close()
	if _, err := pour(&written{f: full}, sha256.New(), bytes.NewReader(make([]byte, 100)), 10); tarn.CodeOf(err) != tarn.CodeUnavailable {
		t.Error(err)
	}
}

// TestCopyOfMovingFile copies files into which somebody writes at the same time. Whatever the copy holds, its
// hash is that of its bytes: the original is what its name says (I5).
func TestCopyOfMovingFile(t *testing.T) {
	s := newSite(t, 1)
	d, err := New(s.o)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(s.dir, "moving")
	rng := rand.New(rand.NewPCG(7, 7))
	size := 13*pieceBytes + 17
	if err := os.WriteFile(path, randomBytes(rng, size), 0o644); err != nil {
		t.Fatal(err)
	}
	writer, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	var writing sync.WaitGroup
	quit := make(chan struct{})
	writing.Go(func() {
		for {
			select {
			case <-quit:
				return
			default:
				_, _ = writer.WriteAt([]byte{byte(rng.Uint32())}, rng.Int64N(int64(size)))
			}
		}
	})
	defer writing.Wait()
	defer close(quit)
	for range 50 {
		src, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		c, err := d.copyOf(t.Context(), src, int64(size))
		_ = src.Close()
		if err != nil {
			t.Fatal(err)
		}
		kept, err := os.ReadFile(c.path)
		if err != nil || c.size != int64(size) || len(kept) != size || c.hash != hashOf(string(kept)) {
			t.Fatalf("%d bytes of %d, hash %s of bytes with %s, %v", len(kept), size, c.hash, hashOf(string(kept)), err)
		}
		c.remove()
	}
}

// TestClone: a copy that shares the blocks of the dropped file keeps its bytes when that is written to. Set
// TMPDIR to a folder on XFS or Btrfs to run it.
func TestClone(t *testing.T) {
	dir := t.TempDir()
	body := randomBytes(rand.New(rand.NewPCG(1, 2)), 2*pieceBytes+1)
	if err := os.WriteFile(filepath.Join(dir, "src"), body, 0o644); err != nil {
		t.Fatal(err)
	}
	src, err := os.OpenFile(filepath.Join(dir, "src"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	dst, err := os.Create(filepath.Join(dir, "dst"))
	if err != nil {
		t.Fatal(err)
	}
	defer dst.Close()
	if err := clone(dst, src); err != nil {
		t.Skipf("the filesystem shares no blocks: %v", err)
	}
	if _, err := src.WriteAt([]byte("changed"), 5); err != nil {
		t.Fatal(err)
	}
	if err := src.Truncate(pieceBytes); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(dst.Name()); err != nil || !bytes.Equal(got, body) {
		t.Errorf("the copy changed with the file: %d bytes, %v", len(got), err)
	}
}

func randomBytes(rng *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}
