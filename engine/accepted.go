package engine

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/govern"
	"github.com/tarn-data/tarn/metadb"
	"github.com/tarn-data/tarn/server"
)

// acceptance says that somebody knows of records that a stream has lost.
type acceptance struct {
	offsets
	by, reason string
	at         time.Time
}

// part is a run of lost offsets that are all accepted by one acceptance, or by none.
type part struct {
	offsets
	accepted *acceptance
}

// acceptances reads what was accepted, by shard, in order of time.
func (e *Engine) acceptances(ctx context.Context) (map[shardID][]acceptance, error) {
	rows, err := e.db.Query(ctx, "SELECT stream, shard, first_offset, next_offset, accepted_by, accepted_at, reason FROM accepted_losses ORDER BY accepted_at")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	all := map[shardID][]acceptance{}
	for rows.Next() {
		var id shardID
		var a acceptance
		var first, next, at int64
		if err := rows.Scan(&id.stream, &id.shard, &first, &next, &a.by, &at, &a.reason); err != nil {
			return nil, err
		}
		a.offsets, a.at = offsets{uint64(first), uint64(next)}, metadb.Time(at)
		all[id] = append(all[id], a)
	}
	return all, rows.Err()
}

// parts divides a run into what is accepted, by the first who did, and what is not.
func parts(run offsets, accepted []acceptance) []part {
	open := []part{{offsets: run}}
	for i := range accepted {
		a := &accepted[i]
		var next []part
		for _, p := range open {
			first, end := max(p.first, a.first), min(p.next, a.next)
			if p.accepted != nil || first >= end {
				next = append(next, p)
				continue
			}
			for _, q := range []part{{offsets{p.first, first}, nil}, {offsets{first, end}, a}, {offsets{end, p.next}, nil}} {
				if q.first < q.next {
					next = append(next, q)
				}
			}
		}
		open = next
	}
	return open
}

// lossNaming names what streams have lost, in one verification.
type lossNaming struct {
	doc      *server.VerifyDoc
	accepted map[shardID][]acceptance
	problem  func(subject, format string, args ...any)
}

// name makes a problem of what is lost and accepted by nobody, and a note of the rest. It reports whether
// there is such a problem.
func (n *lossNaming) name(id shardID, subject string, run offsets) (problem bool) {
	for _, p := range parts(run, n.accepted[id]) {
		gone := p.positions(id.shard)
		n.list(id, p)
		if p.accepted == nil {
			n.problem(subject, "the records %s were acknowledged and are lost: the storage of the stream came back without them", gone)
			problem = true
			continue
		}
		n.doc.Notes = append(n.doc.Notes, server.VerifyProblem{Subject: subject,
			Detail: fmt.Sprintf("the records %s are lost; %s accepted that on %s: %s", gone, p.accepted.by, p.accepted.at.Format("2006-01-02 15:04 MST"), p.accepted.reason)})
	}
	return problem
}

// list adds a loss to the document, once.
func (n *lossNaming) list(id shardID, p part) {
	d := server.LossDoc{LossRef: server.LossRef{Stream: id.stream, First: tarn.Position{Shard: id.shard, Offset: p.first}, Last: tarn.Position{Shard: id.shard, Offset: p.next - 1}}}
	if p.accepted != nil {
		d.Accepted = &server.AcceptedDoc{By: p.accepted.by, At: p.accepted.at, Reason: p.accepted.reason}
	}
	if !slices.ContainsFunc(n.doc.Losses, func(have server.LossDoc) bool { return have.LossRef == d.LossRef }) {
		n.doc.Losses = append(n.doc.Losses, d)
	}
}

// AcceptLosses notes who knows of losses that Verify has named, and why that is in order. CodeNotFound when
// one of them is no loss. What is lost later is not accepted by it.
func (e *Engine) AcceptLosses(ctx context.Context, req server.AcceptLosses) error {
	by := cmp.Or(req.By, "a client of this machine")
	if p := govern.PrincipalOf(ctx); p != nil {
		by = p.Subject
	}
	now := time.Now()
	return e.db.Tx(ctx, func(tx *metadb.Tx) error {
		for _, l := range req.Losses {
			id, run := shardID{l.Stream, l.First.Shard}, offsets{l.First.Offset, l.Last.Offset + 1}
			if known := e.marks.of(id).lostTo(""); run.first >= run.next || l.Last.Shard != id.shard || within(known, run.first, run.next) != run.next-run.first {
				return &tarn.Error{Code: tarn.CodeNotFound, Detail: fmt.Sprintf("the records %s to %s of the stream %s are not known to be lost", l.First, l.Last, l.Stream), Hint: "tarn verify names losses"}
			}
			_, err := tx.Exec(ctx, `INSERT INTO accepted_losses (stream, shard, first_offset, next_offset, accepted_by, accepted_at, reason) VALUES (?, ?, ?, ?, ?, ?, ?)
				ON CONFLICT (stream, shard, first_offset, next_offset) DO NOTHING`, id.stream, id.shard, int64(run.first), int64(run.next), by, metadb.Micros(now), req.Reason)
			if err != nil {
				return err
			}
			e.log.Warn("a loss of acknowledged records is accepted", "stream", id.stream, "records", run.positions(id.shard), "by", by, "reason", req.Reason)
		}
		return nil
	})
}
