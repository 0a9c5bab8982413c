package table

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/apache/iceberg-go"
	"github.com/google/uuid"

	"github.com/tarn-data/tarn"
)

// build collects the manifests of a new snapshot.
type build struct {
	s         *Store
	cur       *State
	id, seq   int64
	at        int64 // milliseconds
	manifests []*manifest
	draft     draft
	base      *metadata // what the snapshot is added to; changed by finish

	addedFiles, addedRows, addedBytes       int64
	removedFiles, removedRows, removedBytes int64
}

func (s *Store) newBuild(ctx context.Context, cur *State) (*build, error) {
	ms, err := s.manifestsOf(ctx, cur)
	if err != nil {
		return nil, err
	}
	b := &build{s: s, cur: cur, id: rand.Int64N(1<<62) + 1, seq: cur.meta.sequence + 1, at: s.now(cur.meta),
		draft: draft{entries: map[string][]entry{}}, base: cur.meta.next(cur.MetadataLocation, s.opts.PreviousMetadata)}
	for _, m := range ms {
		if m.live > 0 { // one that only told of deletions has told them
			b.manifests = append(b.manifests, m)
		} else {
			b.drop(m)
		}
	}
	return b, nil
}

// clockSlack is how far a clock may go back unseen: Iceberg wants times to be in order within a
// minute.
const clockSlack = time.Minute

// now is the time of the next version, in milliseconds. It is later than that of the version before,
// so that a moment names one snapshot, as long as the clock moves within clockSlack. A version from
// further in the future had a wrong clock; what follows it has the right one, or time travel and
// expiry would wait until the clock gets there. Sequence numbers order the snapshots all the same.
func (s *Store) now(m *metadata) int64 {
	clock := s.opts.Clock()
	if ahead := time.UnixMilli(m.updatedMS).Sub(clock); ahead > clockSlack {
		s.opts.Logger.Warn("the last version of the table is from the future: the clock was set back; times of its snapshots go back too",
			"table_uuid", m.uuid, "last_version", time.UnixMilli(m.updatedMS).UTC(), "clock", clock.UTC())
		return clock.UnixMilli()
	}
	return max(clock.UnixMilli(), m.updatedMS+1)
}

// drop notes that the new snapshot does not name the manifest.
func (b *build) drop(m *manifest) {
	b.draft.removed = append(b.draft.removed, removedFile{m.file.FilePath(), b.seq})
}

// write adds a new manifest in front.
func (b *build) write(d manifestDraft) error {
	key := fmt.Sprintf("%s/metadata/%s-m.avro", b.cur.Prefix, uuid.NewString())
	m, live, data, err := writeManifest(b.cur.shape, b.s.bucket.URL(key), b.id, b.seq, d)
	if err != nil {
		return err
	}
	b.manifests = slices.Insert(b.manifests, 0, m)
	b.draft.entries[m.file.FilePath()] = live
	b.draft.objects = append(b.draft.objects, object{key, data})
	for _, f := range d.added {
		b.addedFiles, b.addedRows, b.addedBytes = b.addedFiles+1, b.addedRows+f.Rows, b.addedBytes+f.Bytes
	}
	for _, e := range d.deleted {
		b.removedFiles, b.removedRows, b.removedBytes = b.removedFiles+1, b.removedRows+e.file.Rows, b.removedBytes+e.file.Bytes
	}
	return nil
}

// remove rewrites the manifests that hold the files, together. CodeConflict when a file is not live.
func (b *build) remove(ctx context.Context, files []DataFile) error {
	gone := map[string]bool{}
	for _, f := range files {
		path := f.Path
		if _, ok := b.s.bucket.Key(path); !ok {
			path = b.s.bucket.URL(path)
		}
		gone[path] = true
	}
	var d manifestDraft
	for _, m := range slices.Clone(b.manifests) {
		if len(gone) == 0 {
			break
		}
		entries, err := b.s.entries(ctx, b.cur, m)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(entries, func(e entry) bool { return gone[e.file.Path] }) {
			continue
		}
		for _, e := range entries {
			if gone[e.file.Path] {
				delete(gone, e.file.Path)
				d.deleted = append(d.deleted, e)
				b.draft.removed = append(b.draft.removed, removedFile{e.file.Path, b.seq})
			} else {
				d.existing = append(d.existing, e)
			}
		}
		b.replace(m)
		if len(d.existing)+len(d.deleted) >= fullManifest {
			if err := b.write(d); err != nil {
				return err
			}
			d = manifestDraft{}
		}
	}
	for path := range gone {
		return &tarn.Error{Code: tarn.CodeConflict, Detail: fmt.Sprintf("the file %s is no longer in table %s", path, b.cur.Name), Hint: "another commit replaced it: start from the current state"}
	}
	if len(d.deleted) == 0 {
		return nil
	}
	return b.write(d)
}

// replace takes a manifest out.
func (b *build) replace(m *manifest) {
	b.manifests = slices.DeleteFunc(b.manifests, func(x *manifest) bool { return x == m })
	b.drop(m)
}

// settled returns the manifests of earlier snapshots. Those of this build are never merged: they
// tell what this snapshot added and deleted.
func (b *build) settled() []*manifest {
	var out []*manifest
	for _, m := range b.manifests {
		if _, fresh := b.draft.entries[m.file.FilePath()]; !fresh {
			out = append(out, m)
		}
	}
	return out
}

// merge writes the live entries of several manifests into one.
func (b *build) merge(ctx context.Context, ms []*manifest) error {
	var d manifestDraft
	for _, m := range ms {
		entries, err := b.s.entries(ctx, b.cur, m)
		if err != nil {
			return err
		}
		d.existing = append(d.existing, entries...)
		b.replace(m)
	}
	fresh := b.manifests
	b.manifests = nil
	if err := b.write(d); err != nil {
		return err
	}
	b.manifests = append(fresh, b.manifests...) // oldest last
	return nil
}

// finish writes the manifest list and the metadata.
func (b *build) finish(op string, extra map[string]string) (*draft, error) {
	n := func(v int64) string { return strconv.FormatInt(v, 10) }
	sum := map[string]string{}
	maps.Copy(sum, extra)
	maps.Copy(sum, map[string]string{
		"operation": op, "engine-name": "tarn",
		sumRecords: n(b.cur.Rows + b.addedRows - b.removedRows), sumFiles: n(b.cur.Files + b.addedFiles - b.removedFiles),
		sumBytes: n(b.cur.Bytes + b.addedBytes - b.removedBytes), "total-delete-files": "0",
	})
	for _, c := range []struct {
		key string
		v   int64
	}{{"added-data-files", b.addedFiles}, {"added-records", b.addedRows}, {"added-files-size", b.addedBytes},
		{"deleted-data-files", b.removedFiles}, {"deleted-records", b.removedRows}, {"removed-files-size", b.removedBytes}} {
		if c.v != 0 {
			sum[c.key] = n(c.v)
		}
	}
	list, err := b.list()
	if err != nil {
		return nil, err
	}
	snap := snapshot{ID: b.id, Sequence: b.seq, TimestampMS: b.at, ManifestList: b.s.bucket.URL(list.key), Summary: sum, SchemaID: b.base.schemaID}
	if b.cur.SnapshotID != 0 {
		snap.Parent = &b.cur.SnapshotID
	}
	added, err := newSnapshot(snap)
	if err != nil {
		return nil, err
	}
	m := b.base
	m.snapshots = append(m.snapshots, added)
	m.currentID, m.sequence, m.updatedMS = b.id, b.seq, b.at
	b.draft.meta, b.draft.manifests = m, b.manifests
	b.draft.objects = append(b.draft.objects, list)
	return &b.draft, nil
}

// list encodes the manifest list.
func (b *build) list() (object, error) {
	files := make([]iceberg.ManifestFile, len(b.manifests))
	for i, m := range b.manifests {
		files[i] = m.file
	}
	var parent *int64
	if b.cur.SnapshotID != 0 {
		parent = &b.cur.SnapshotID
	}
	var buf bytes.Buffer
	if err := iceberg.WriteManifestList(formatVersion, &buf, b.id, parent, &b.seq, 0, files); err != nil {
		return object{}, fmt.Errorf("write manifest list: %w", err)
	}
	return object{fmt.Sprintf("%s/metadata/snap-%d-%s.avro", b.cur.Prefix, b.id, uuid.NewString()), buf.Bytes()}, nil
}
