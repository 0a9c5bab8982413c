package filedrop

import (
	"bytes"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/tarn-data/tarn/ingest/filedrop/decode"
	"github.com/tarn-data/tarn/internal/fleet"
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
