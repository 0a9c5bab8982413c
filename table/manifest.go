package table

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/apache/iceberg-go"

	"github.com/tarn-data/tarn/lake"
)

const (
	// mergeAt is how many manifests of one size class are merged into one of the next class.
	// Classes are powers of mergeAt, so an entry is rewritten once per class and a snapshot of n
	// files names about mergeAt*log(n) manifests, whatever the number of commits.
	mergeAt = 16
	// fullManifest is the number of entries from which a manifest is left alone.
	fullManifest = 4096
)

// manifest is one manifest file of a snapshot.
type manifest struct {
	file iceberg.ManifestFile // sequence numbers assigned
	live int                  // entries that are not deleted
	rows int64                // in live files
}

func wrapManifest(f iceberg.ManifestFile) *manifest {
	return &manifest{file: f, live: int(f.AddedDataFiles() + f.ExistingDataFiles()), rows: f.AddedRows() + f.ExistingRows()}
}

// entry is one live file of a manifest.
type entry struct {
	file         DataFile
	snapshot     int64
	seq, fileSeq int64
}

// object is a metadata file that waits to be published.
type object struct {
	key  string
	data []byte
}

// manifestsOf returns the manifests of st's snapshot, reading the list at the first call.
func (s *Store) manifestsOf(ctx context.Context, st *State) ([]*manifest, error) {
	if p := st.manifests.Load(); p != nil {
		return *p, nil
	}
	snap := st.meta.snapshot(st.SnapshotID)
	if snap == nil {
		return nil, nil
	}
	data, err := s.read(ctx, snap.ManifestList)
	if err != nil {
		return nil, fmt.Errorf("manifest list of %s: %w", st.Name, err)
	}
	files, err := iceberg.ReadManifestList(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("manifest list of %s: %w", st.Name, err)
	}
	out := make([]*manifest, len(files))
	for i, f := range files {
		if f.ManifestContent() != iceberg.ManifestContentData {
			return nil, fmt.Errorf("table %s has delete files, which Tarn does not read", st.Name)
		}
		out[i] = wrapManifest(f)
	}
	st.manifests.Store(&out)
	return out, nil
}

// read returns a metadata file by URL.
func (s *Store) read(ctx context.Context, url string) ([]byte, error) {
	key, ok := s.bucket.Key(url)
	if !ok {
		return nil, fmt.Errorf("%s lies outside the lake", url)
	}
	return lake.ReadAll(ctx, s.bucket, key)
}

// entries returns the live entries of a manifest, from memory when it holds them.
func (s *Store) entries(ctx context.Context, st *State, m *manifest) ([]entry, error) {
	if m.live == 0 {
		return nil, nil
	}
	path := m.file.FilePath()
	if e, ok := s.cache.get(path); ok {
		return e, nil
	}
	data, err := s.read(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("manifest of %s: %w", st.Name, err)
	}
	list, err := iceberg.ReadManifest(m.file, bytes.NewReader(data), true)
	if err != nil {
		return nil, fmt.Errorf("manifest %s: %w", path, err)
	}
	out := make([]entry, len(list))
	for i, e := range list {
		fileSeq := e.SequenceNum()
		if p := e.FileSequenceNum(); p != nil {
			fileSeq = *p
		}
		out[i] = entry{file: st.shape.decode(e.DataFile()), snapshot: e.SnapshotID(), seq: e.SequenceNum(), fileSeq: fileSeq}
	}
	s.cache.put(path, out)
	return out, nil
}

// manifestDraft is what a new manifest is to hold.
type manifestDraft struct {
	added    []DataFile // new with this snapshot
	existing []entry
	deleted  []entry
}

// writeManifest encodes a manifest of snapshot id, sequence number seq, and returns it with the
// live entries it will be read back as.
func writeManifest(sh *shape, path string, id, seq int64, d manifestDraft) (*manifest, []entry, []byte, error) {
	all := make([]iceberg.ManifestEntry, 0, len(d.added)+len(d.existing)+len(d.deleted))
	live := make([]entry, 0, len(d.added)+len(d.existing))
	for _, f := range d.added {
		df, err := sh.encode(f)
		if err != nil {
			return nil, nil, nil, err
		}
		all = append(all, iceberg.NewManifestEntry(iceberg.EntryStatusADDED, &id, nil, nil, df))
		live = append(live, entry{file: f, snapshot: id, seq: seq, fileSeq: seq})
	}
	for _, group := range []struct {
		status  iceberg.ManifestEntryStatus
		entries []entry
	}{{iceberg.EntryStatusEXISTING, d.existing}, {iceberg.EntryStatusDELETED, d.deleted}} {
		for _, e := range group.entries {
			df, err := sh.encode(e.file)
			if err != nil {
				return nil, nil, nil, err
			}
			snapshot := e.snapshot
			if group.status == iceberg.EntryStatusDELETED {
				snapshot = id
			}
			all = append(all, iceberg.NewManifestEntry(group.status, &snapshot, &e.seq, &e.fileSeq, df))
		}
	}
	live = append(live, d.existing...)
	var buf bytes.Buffer
	mf, err := iceberg.WriteManifest(path, &buf, formatVersion, *sh.spec, sh.schema, id, all)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("write manifest: %w", err)
	}
	low := mf.MinSequenceNum()
	if low < 0 {
		low = seq
	}
	file := iceberg.NewManifestFile(formatVersion, path, int64(buf.Len()), mf.PartitionSpecID(), id).
		SequenceNum(seq, low).Content(iceberg.ManifestContentData).
		AddedFiles(mf.AddedDataFiles()).ExistingFiles(mf.ExistingDataFiles()).DeletedFiles(mf.DeletedDataFiles()).
		AddedRows(mf.AddedRows()).ExistingRows(mf.ExistingRows()).DeletedRows(mf.DeletedRows()).
		Partitions(mf.Partitions()).Build()
	return wrapManifest(file), live, buf.Bytes(), nil
}

// mergeable picks the manifests to merge: those of the lowest size class that has mergeAt of them,
// up to a full manifest.
func mergeable(ms []*manifest) []*manifest {
	classes := map[int][]*manifest{}
	for _, m := range ms {
		if m.live < fullManifest {
			c := sizeClass(m.live)
			classes[c] = append(classes[c], m)
		}
	}
	for _, c := range slices.Sorted(maps.Keys(classes)) {
		if len(classes[c]) >= mergeAt {
			return upToFull(classes[c])
		}
	}
	return nil
}

func upToFull(ms []*manifest) []*manifest {
	n := 0
	for i, m := range ms {
		if n += m.live; n >= fullManifest {
			return ms[:i+1]
		}
	}
	return ms
}

func sizeClass(n int) int {
	c := 0
	for ; n >= mergeAt; n /= mergeAt {
		c++
	}
	return c
}
