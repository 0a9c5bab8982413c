package table

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tarn-data/tarn/lake"
	"github.com/tarn-data/tarn/metadb"
)

// sweepBatch is how many files are deleted between two looks at the database.
const sweepBatch = 500

// ExpireSnapshots removes the snapshots older than keep from the table's history, but never the
// newest keepLast (at least one), and deletes the files that no retained snapshot and no lease
// needs any more. Time travel reaches back to what is retained.
func (s *Store) ExpireSnapshots(ctx context.Context, name string, keep time.Duration, keepLast int) (ExpireResult, error) {
	var res ExpireResult
	st, err := s.change(ctx, name, func(_ context.Context, cur *State) (*draft, error) {
		snaps := cur.meta.snapshots
		n := min(older(snaps, s.opts.Clock().Add(-keep).UnixMilli()), len(snaps)-max(keepLast, 1))
		n = max(n, 0)
		res.Snapshots = n
		if n == 0 {
			return nil, nil
		}
		m := cur.meta.next(cur.MetadataLocation, s.opts.PreviousMetadata)
		m.snapshots = slices.Clone(snaps[n:])
		m.updatedMS = s.now(cur.meta)
		d := &draft{meta: m}
		for _, old := range snaps[:n] {
			d.removed = append(d.removed, removedFile{old.ManifestList, old.Sequence + 1})
		}
		return d, nil
	})
	if err != nil {
		return res, err
	}
	res.Files, err = s.sweep(ctx, st)
	return res, err
}

// older returns how many snapshots are older than limit, in milliseconds. They form one line, so that
// what is retained is its end: with the last one that is older go all before it, even those that a
// clock running ahead gave a later time.
func older(snaps []*snapshot, limit int64) int {
	n := len(snaps)
	for n > 0 && snaps[n-1].TimestampMS >= limit {
		n--
	}
	return n
}

// sweep is the only place that deletes files which committed metadata has named (I4). A file that
// left the table at sequence number r is needed by the snapshots below r; the retained ones are
// those from the oldest on, and a lease needs its own. What a crash leaves is swept next time.
func (s *Store) sweep(ctx context.Context, st *State) (int, error) {
	if len(st.meta.snapshots) == 0 {
		return 0, nil
	}
	// st is committed, so no later reader finds an older snapshot; see Acquire for those before.
	limit := min(st.meta.snapshots[0].Sequence, s.leases.lowest(st.Name, st.UUID))
	deleted := 0
	for {
		urls, err := s.removedFiles(ctx, st.UUID, limit)
		if err != nil || len(urls) == 0 {
			return deleted, err
		}
		g, gctx := errgroup.WithContext(ctx)
		g.SetLimit(8)
		args := []any{st.UUID}
		for _, url := range urls {
			args = append(args, url)
			s.cache.forget(url)
			if key, ok := s.bucket.Key(url); ok {
				g.Go(func() error { return s.bucket.Delete(gctx, key) })
			}
		}
		if err := g.Wait(); err != nil {
			return deleted, err
		}
		// The rows go last: what a crash leaves here is deleted once more, which does no harm.
		n, err := s.db.Exec(ctx, "DELETE FROM removed_files WHERE table_uuid = ? AND path IN (?"+strings.Repeat(", ?", len(urls)-1)+")", args...)
		if err != nil {
			return deleted, err
		}
		deleted += int(n)
	}
}

func (s *Store) removedFiles(ctx context.Context, table string, limit int64) ([]string, error) {
	return metadb.Column[string](s.db.Query(ctx, "SELECT path FROM removed_files WHERE table_uuid = ? AND removed_seq <= ? ORDER BY removed_seq LIMIT ?", table, limit, sweepBatch))
}

// RewriteManifests merges the manifests of the current snapshot into full ones, sorted by
// partition, in a new snapshot with the same files. It returns the current state when there is
// nothing to merge.
func (s *Store) RewriteManifests(ctx context.Context, name string) (*State, error) {
	return s.change(ctx, name, func(ctx context.Context, cur *State) (*draft, error) {
		b, err := s.newBuild(ctx, cur)
		if err != nil {
			return nil, err
		}
		var all []entry
		loose := 0
		for _, m := range b.manifests {
			if m.live < fullManifest {
				loose++
			}
		}
		if loose < 2 {
			return nil, nil
		}
		for _, m := range slices.Clone(b.manifests) {
			entries, err := s.entries(ctx, cur, m)
			if err != nil {
				return nil, err
			}
			all = append(all, entries...)
			b.drop(m)
		}
		b.manifests = nil
		slices.SortStableFunc(all, func(a, c entry) int { return comparePartitions(a.file.Partition, c.file.Partition) })
		for chunk := range slices.Chunk(all, fullManifest) {
			if err := b.write(manifestDraft{existing: chunk}); err != nil {
				return nil, err
			}
		}
		return b.finish(opReplace, nil)
	})
}

// RemoveOrphans deletes files below the table's folder that no metadata names and that are older
// than olderThan: what crashed or overtaken writers left. Give writers time: olderThan must exceed
// the longest time between putting a file and committing it.
//
// Commits of this Store wait meanwhile; a commit elsewhere that names a deleted file fails, since
// Commit looks for every file it adds.
func (s *Store) RemoveOrphans(ctx context.Context, name string, olderThan time.Duration) (OrphansResult, error) {
	var res OrphansResult
	h := s.handle(name)
	h.commit.Lock()
	defer h.commit.Unlock()
	st, err := s.State(ctx, name)
	if err != nil {
		return res, err
	}
	limit := s.opts.Clock().Add(-olderThan)
	var old []lake.Info
	for info, err := range s.bucket.List(ctx, st.Prefix+"/") {
		if err != nil {
			return res, err
		}
		if info.Modified.Before(limit) {
			old = append(old, info)
		}
	}
	if len(old) == 0 {
		return res, nil
	}
	// The names are read after the files, so that nothing committed before this line is taken.
	st, release, err := s.Acquire(ctx, name, nil)
	if err != nil {
		return res, err
	}
	defer release()
	named, err := s.named(ctx, st)
	if err != nil {
		return res, err
	}
	var errs []error
	for _, info := range old {
		if named[info.Key] {
			continue
		}
		if err := s.bucket.Delete(ctx, info.Key); err != nil {
			errs = append(errs, err)
			continue
		}
		res.Files++
		res.Bytes += info.Size
	}
	return res, errors.Join(errs...)
}

// named returns the keys of all files that any retained snapshot, the metadata log, the list of
// removed files or something built aside names.
func (s *Store) named(ctx context.Context, st *State) (map[string]bool, error) {
	named := map[string]bool{}
	add := func(url string) {
		if key, ok := s.bucket.Key(url); ok {
			named[key] = true
		}
	}
	add(st.MetadataLocation)
	for _, e := range st.meta.log {
		add(e.File)
	}
	removed, err := s.db.Query(ctx, "SELECT path FROM removed_files WHERE table_uuid = ?", st.UUID)
	if err != nil {
		return nil, err
	}
	defer removed.Close()
	for removed.Next() {
		var url string
		if err := removed.Scan(&url); err != nil {
			return nil, err
		}
		add(url)
	}
	if err := removed.Err(); err != nil {
		return nil, err
	}
	if err := s.asideFiles(ctx, st.Name, add); err != nil {
		return nil, err
	}
	read := map[string]bool{} // manifests are shared by snapshots
	for _, snap := range slices.Backward(st.meta.snapshots) {
		add(snap.ManifestList)
		old, err := st.at(snap)
		if err != nil {
			return nil, err
		}
		ms, err := s.manifestsOf(ctx, old)
		if err != nil {
			return nil, err
		}
		for _, m := range ms {
			path := m.file.FilePath()
			if read[path] {
				continue
			}
			read[path] = true
			add(path)
			entries, err := s.entries(ctx, old, m)
			if err != nil {
				return nil, err
			}
			for _, e := range entries {
				add(e.file.Path)
			}
		}
	}
	return named, nil
}
