package table

import (
	"context"
	"errors"
	"slices"

	"github.com/tarn-data/tarn"
)

// compactBatch is how many groups share a commit.
const compactBatch = 32

// Compact rewrites small files of each partition into larger ones. It works on a leased state while
// commits go on, and gives a group up when another commit took one of its files. The replaced files
// stay until the last snapshot that names them has expired (I4).
func (s *Store) Compact(ctx context.Context, name string, rewrite Rewriter, opts CompactOptions) (CompactResult, error) {
	opts = opts.defaults()
	var res CompactResult
	st, release, err := s.Acquire(ctx, name, nil)
	if err != nil {
		return res, err
	}
	defer release()
	files, err := s.Files(ctx, st)
	if err != nil {
		return res, err
	}
	var batch []compacted
	for _, group := range opts.plan(files) {
		out, rerr := s.rewrite(ctx, rewrite, Rewrite{Table: st, Files: group, Read: st.Schema, Write: st.Schema, SchemaID: st.SchemaID, Partition: group[0].Partition})
		if rerr != nil {
			err = rerr
			break
		}
		if batch = append(batch, compacted{group, out}); len(batch) == compactBatch {
			if err = s.commitCompacted(ctx, st, batch, &res); err != nil {
				return res, err
			}
			batch = nil
		}
	}
	return res, errors.Join(err, s.commitCompacted(ctx, st, batch, &res))
}

// compacted is one group with what replaces it.
type compacted struct{ in, out []DataFile }

// commitCompacted commits groups together or, when that conflicts, each by itself.
func (s *Store) commitCompacted(ctx context.Context, st *State, batch []compacted, res *CompactResult) error {
	if len(batch) == 0 {
		return nil
	}
	c := Commit{SchemaID: st.SchemaID}
	for _, g := range batch {
		c.Remove, c.Add = append(c.Remove, g.in...), append(c.Add, g.out...)
	}
	_, err := s.commit(ctx, st.Name, opReplace, c)
	if tarn.CodeOf(err) == tarn.CodeConflict {
		if len(batch) > 1 {
			for _, g := range batch {
				if err := s.commitCompacted(ctx, st, []compacted{g}, res); err != nil {
					return err
				}
			}
			return nil
		}
		res.Conflicts++
		s.discardFiles(ctx, batch[0].out)
		return nil
	}
	if err != nil {
		return err // the outcome may be open: the new files stay, as orphans at worst
	}
	for _, g := range batch {
		res.Groups++
		res.FilesIn += len(g.in)
		res.FilesOut += len(g.out)
		for _, f := range g.in {
			res.Rows, res.BytesIn = res.Rows+f.Rows, res.BytesIn+f.Bytes
		}
		for _, f := range g.out {
			res.BytesOut += f.Bytes
		}
	}
	return nil
}

// discardFiles deletes data files that were never committed.
func (s *Store) discardFiles(ctx context.Context, files []DataFile) {
	for _, f := range files {
		if key, ok := s.bucket.Key(f.Path); ok {
			s.discard(ctx, []object{{key: key}})
		}
	}
}

func (o CompactOptions) defaults() CompactOptions {
	if o.TargetBytes <= 0 {
		o.TargetBytes = 128 << 20
	}
	if o.MinFiles <= 0 {
		o.MinFiles = 5
	}
	if o.MaxBytes <= 0 {
		o.MaxBytes = 4 << 30
	}
	return o
}

// plan picks groups of small files, oldest first within a partition, fullest partitions first. A
// file is small below three quarters of the target; a group is worth it with MinFiles files, or
// with two that fill a file.
func (o CompactOptions) plan(files []DataFile) [][]DataFile {
	small := slices.DeleteFunc(slices.Clone(files), func(f DataFile) bool { return f.Bytes >= o.TargetBytes/4*3 })
	slices.Reverse(small) // manifests come newest first
	var picked [][]DataFile
	for _, g := range groups(small, o.TargetBytes) {
		if len(g) >= max(o.MinFiles, 2) || len(g) >= 2 && bytesOf(g) >= o.TargetBytes/4*3 {
			picked = append(picked, g)
		}
	}
	slices.SortStableFunc(picked, func(a, b []DataFile) int { return len(b) - len(a) })
	var sum int64
	for i, g := range picked {
		if sum += bytesOf(g); i > 0 && sum > o.MaxBytes {
			return picked[:i]
		}
	}
	return picked
}

func bytesOf(files []DataFile) int64 {
	var n int64
	for _, f := range files {
		n += f.Bytes
	}
	return n
}
