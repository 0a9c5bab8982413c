package raw

import (
	"context"
	"fmt"
)

// Account is what the archive holds of one shard, counted from its objects.
type Account struct {
	Progress
	Objects     int64
	Kept        int64 // records in the registered objects
	Bytes       int64
	ExpiredHere uint64 // of the ranges that are kept
	DamagedHere uint64
}

// Problem is a fault that Verify found.
type Problem struct {
	Subject string // the object, or the shard
	Detail  string
}

// Verify proves from the stores that the archive is whole: the registered ranges follow each other
// without a hole from the first to the next offset, every object is there with its registered size,
// and the counters add up. With read every object is
// decompressed, its checksums and counts are verified, and read is called behind it.
func (a *Archive) Verify(ctx context.Context, read func(Object)) ([]Account, []Problem, error) {
	progress, err := a.Progress(ctx)
	if err != nil {
		return nil, nil, err
	}
	var accounts []Account
	var problems []Problem
	for _, p := range progress {
		acc, found, err := a.verifyShard(ctx, p, read)
		for try := 0; err == nil && try < 20; try++ {
			now, e := a.shardProgress(ctx, p.Shard)
			if e != nil || now.First == p.First {
				err = e
				break
			}
			p = now // the lifecycle removed objects meanwhile
			acc, found, err = a.verifyShard(ctx, p, read)
		}
		if err != nil {
			return nil, nil, err
		}
		accounts = append(accounts, acc)
		problems = append(problems, found...)
	}
	return accounts, problems, nil
}

func (a *Archive) shardProgress(ctx context.Context, shard int) (Progress, error) {
	all, err := a.Progress(ctx)
	for _, p := range all {
		if p.Shard == shard {
			return p, err
		}
	}
	return Progress{}, err
}

// verifyShard looks at the ranges that the progress covers: those below its next offset do not change,
// except that the lifecycle takes them from the front.
func (a *Archive) verifyShard(ctx context.Context, p Progress, read func(Object)) (Account, []Problem, error) {
	acc := Account{Progress: p}
	var problems []Problem
	subject := fmt.Sprintf("raw.%s shard %d", a.stream, p.Shard)
	bad := func(subject, format string, args ...any) {
		problems = append(problems, Problem{subject, fmt.Sprintf(format, args...)})
	}
	if p.Next == 0 {
		return acc, nil, nil
	}
	at := p.First
	for o, err := range a.Objects(ctx, Select{Shards: []int{p.Shard}, To: p.Next}) {
		if err != nil {
			return acc, nil, err
		}
		if o.First != at {
			bad(subject, "the objects do not follow each other: offset %d follows %d", o.First, at)
		}
		if at = o.Next; o.Next <= o.First {
			bad(subject, "the range %d to %d is empty", o.First, o.Next)
			break
		}
		switch o.Form {
		case Expired:
			acc.ExpiredHere += o.Next - o.First
			continue
		case Damaged:
			acc.DamagedHere += o.Next - o.First
			continue
		}
		acc.Objects++
		acc.Kept += o.Records
		acc.Bytes += o.Bytes
		if uint64(o.Records) != o.Next-o.First {
			bad(o.Key, "%d records are registered for %d positions", o.Records, o.Next-o.First)
		}
		if detail := a.verifyObject(ctx, o, read != nil); detail != "" {
			bad(o.Key, "%s", detail)
		}
		if read != nil {
			read(o)
		}
		if err := ctx.Err(); err != nil {
			return acc, nil, err
		}
	}
	if at != p.Next {
		bad(subject, "the objects end at offset %d, the progress is at %d", at, p.Next)
	}
	if p.Records+p.Expired+p.Damaged != p.Next {
		bad(subject, "%d records, %d expired and %d damaged do not make offset %d", p.Records, p.Expired, p.Damaged, p.Next)
	}
	if kept := uint64(acc.Kept) + acc.ExpiredHere + acc.DamagedHere; kept+p.First != p.Next {
		bad(subject, "%d records in objects, %d expired and %d damaged do not make the offsets %d to %d", acc.Kept, acc.ExpiredHere, acc.DamagedHere, p.First, p.Next)
	}
	return acc, problems, nil
}

// verifyObject returns what is wrong with an object, or "".
func (a *Archive) verifyObject(ctx context.Context, o Object, deep bool) string {
	info, err := a.bucket.Stat(ctx, o.Key)
	switch {
	case err != nil:
		return "the object is missing"
	case info.Size != o.Bytes:
		return fmt.Sprintf("the object has %d bytes, %d are registered", info.Size, o.Bytes)
	case !deep:
		return ""
	}
	dec, err := newDecoder()
	if err != nil {
		return err.Error()
	}
	defer dec.Close()
	_, err = a.readObject(ctx, o, Select{}, dec, func(Record, error) bool { return true })
	if err != nil && ctx.Err() == nil {
		return "the object is damaged"
	}
	return ""
}
