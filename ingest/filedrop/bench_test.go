package filedrop

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/ingest/filedrop/decode"
	"github.com/tarn-data/tarn/internal/fleet"
	"github.com/tarn-data/tarn/record"
	"github.com/tarn-data/tarn/record/column"
)

// fleetFile makes a file of events, as NDJSON or as a CSV file of some of their columns.
func fleetFile(b *testing.B, events int, csv bool) []byte {
	b.Helper()
	g, err := fleet.New(fleet.Options{Seed: 1, Start: time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)})
	if err != nil {
		b.Fatal(err)
	}
	if !csv {
		return g.AppendNDJSON(nil, 0, events)
	}
	var out bytes.Buffer
	out.WriteString("event_id,device_id,ts,seq,status,lat,lon,speed_kmh,axle_1_c,brake_bar,load_kg,battery_v\n")
	for i := range events {
		fmt.Fprintf(&out, "0193a%07x-wagon,wagon-%05d,2026-11-20T%02d:%02d:%02d.%03dZ,%d,moving,52.%05d,13.%05d,%d.5,41.25,4.98,%d,24.1\n",
			i, i%20_000, i/60_000%24, i/1000%60, i%60, i%1000, i, i%100_000, i%77_777, i%120, i%60_000)
	}
	return out.Bytes()
}

// BenchmarkDecode reads files into chunks with their lineage.
func BenchmarkDecode(b *testing.B) {
	for _, format := range []decode.Format{decode.NDJSON, decode.JSON, decode.CSV} {
		b.Run(string(format), func(b *testing.B) {
			data := fleetFile(b, 100_000, format == decode.CSV)
			p, err := decode.Look(decode.Input{Name: "x." + string(format), Data: bytes.NewReader(data)}, decode.Hints{}, 1<<20)
			if err != nil {
				b.Fatal(err)
			}
			p.Format = format
			var c chunk
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				r, err := decode.Open(decode.Input{Data: bytes.NewReader(data)}, p)
				if err != nil {
					b.Fatal(err)
				}
				k := newChunker(r, plan{ChunkBytes: chunkBytes}, "x", "0123456789abcdef0123456789abcdef")
				for {
					if err := k.fill(&c); err == io.EOF {
						break
					} else if err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}

// BenchmarkPush brings files through the whole door into a stream: spooled, hashed, kept, decoded,
// framed and made durable.
func BenchmarkPush(b *testing.B) {
	for _, format := range []string{"ndjson", "csv"} {
		b.Run(format, func(b *testing.B) {
			s := newSite(b, 1)
			s.o.Folder, s.o.Logger = "", nil
			s.open()
			data := fleetFile(b, 200_000, format == "csv")
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				if _, err := s.door.Push(b.Context(), "x."+format, bytes.NewReader(data), PushOptions{Again: true}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkRows goes twice over a piece of a CSV file that is referred to: when its rows are checked and noted,
// and when they become columns.
func BenchmarkRows(b *testing.B) {
	data := fleetFile(b, 100_000, true)
	p, err := decode.Look(decode.Input{Name: "x.csv", Data: bytes.NewReader(data)}, decode.Hints{}, 1<<20)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("checked", func(b *testing.B) {
		var c chunk
		b.SetBytes(int64(len(data)))
		for b.Loop() {
			r, err := decode.Open(decode.Input{Data: bytes.NewReader(data)}, p)
			if err != nil {
				b.Fatal(err)
			}
			k := newChunker(r, plan{ChunkBytes: chunkBytes, Refer: true, Read: p}, "x", "0123456789abcdef0123456789abcdef")
			for err == nil {
				err = k.fill(&c)
			}
			if err != io.EOF {
				b.Fatal(err)
			}
		}
	})
	b.Run("columns", func(b *testing.B) {
		fields := []tarn.Field{{Name: decode.LineMember, Type: tarn.Type{Kind: tarn.Long}}}
		kinds := map[string]tarn.Kind{"event_id": tarn.String, "device_id": tarn.String, "status": tarn.String, "ts": tarn.TimestampTZ, "seq": tarn.Long, "load_kg": tarn.Long}
		for _, c := range p.Columns {
			fields = append(fields, tarn.Field{Name: c.Name, Type: tarn.Type{Kind: cmp.Or(kinds[c.Name], tarn.Double)}})
		}
		batch := &column.Batch{}
		batch.Columns, _ = column.Of(fields)
		for _, c := range batch.Columns {
			c.Longs, c.Doubles, c.Texts = make([]int64, column.Rows), make([]float64, column.Rows), make([]column.Text, column.Rows)
		}
		text := append(slices.Clone(data), make([]byte, record.Padding)...)
		b.SetBytes(int64(len(data)))
		for b.Loop() {
			r := decode.Columns(p, decode.Place{Line: 1, Header: true}, batch.Columns)
			for at := 0; at < len(data); {
				batch.Reset()
				if _, at, err = r.Shred(batch, text, at, len(data)); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
}
