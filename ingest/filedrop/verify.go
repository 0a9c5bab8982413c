package filedrop

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/tarn-data/tarn/lake"
)

// Verify calls bad for every original that is missing or has another size than its row says. With read it
// also reads each, calls bad when its bytes are not those that came (I5), and read behind it. Files that
// are being taken are passed over.
func (o *Originals) Verify(ctx context.Context, read func(bytes int64), bad func(key, why string)) error {
	var after original
	take := -1
	for {
		page, next, err := o.page(ctx, after, take)
		if err != nil || len(page) == 0 {
			return err
		}
		for _, x := range page {
			why, err := o.verify(ctx, x, read != nil)
			if err != nil {
				return err
			}
			if why != "" {
				bad(x.key(), why)
			}
			if read != nil {
				read(x.size)
			}
		}
		after, take = page[len(page)-1], next
	}
}

// page lists the originals behind one, and the take of the last.
func (o *Originals) page(ctx context.Context, after original, take int) (page []original, last int, err error) {
	rows, err := o.db.Query(ctx, `SELECT pipeline, hash, algorithm, name, size, take FROM taken_files WHERE original_gone = 0 AND state <> 'taking'
		AND (pipeline > ? OR pipeline = ? AND (hash > ? OR hash = ? AND take > ?)) ORDER BY pipeline, hash, take LIMIT ?`,
		after.pipeline, after.pipeline, after.hash, after.hash, take, expirePage)
	if err != nil {
		return nil, 0, err
	}
	defer rows.Close()
	for rows.Next() {
		var x original
		if err := rows.Scan(&x.pipeline, &x.hash, &x.algorithm, &x.name, &x.size, &last); err != nil {
			return nil, 0, err
		}
		page = append(page, x)
	}
	return page, last, rows.Err()
}

// verify returns what is wrong with an original, or "". While it looks, nobody removes it.
func (o *Originals) verify(ctx context.Context, x original, read bool) (string, error) {
	release, _ := o.tryClaim(x.pipeline, x.hash)
	if release == nil {
		return "", nil // it is being taken once more
	}
	defer release()
	object, err := o.bucket.Open(ctx, x.key())
	if errors.Is(err, lake.ErrNotFound) {
		named, err := o.named(ctx, x.pipeline, x.hash, x.key())
		if named {
			return "the original is missing", err
		}
		return "", err // it was removed since it was listed
	}
	if err != nil {
		return "", err
	}
	defer object.Close()
	if object.Size() != x.size {
		return fmt.Sprintf("the original has %d bytes, %d came", object.Size(), x.size), nil
	}
	if !read {
		return "", nil
	}
	h := x.algorithm.new()
	if _, err := io.CopyBuffer(h, reading{ctx, object}, make([]byte, 256<<10)); err != nil {
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		return "the original cannot be read", nil
	}
	if digits(h) != x.hash {
		return "the original is damaged: its bytes are not those that came", nil
	}
	return "", nil
}
