package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/mattn/go-runewidth"
	"golang.org/x/sys/unix"

	"github.com/tarn-data/tarn/server"
)

// onTerminal runs a command line on a terminal of so many columns and returns what it shows.
func onTerminal(t *testing.T, columns int, args ...string) (status int, shown string) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("no terminals here: %v", err)
	}
	defer master.Close()
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		err = unix.IoctlSetWinsize(int(master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 25, Col: uint16(columns)})
	}
	if err != nil {
		t.Skipf("no terminals here: %v", err)
	}
	tty, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no terminals here: %v", err)
	}
	read := make(chan string)
	go func() {
		b, _ := io.ReadAll(master) // ends with an error when the last terminal is closed
		read <- string(b)
	}()
	status = run(args, strings.NewReader(""), tty, io.Discard)
	if err := tty.Close(); err != nil {
		t.Fatal(err)
	}
	return status, strings.ReplaceAll(<-read, "\r\n", "\n")
}

// TestVerifyOnATerminal: on 80 columns no line of tarn verify is broken by the terminal, and no number is cut.
func TestVerifyOnATerminal(t *testing.T) {
	doc := server.VerifyDoc{Kept: []string{"curated.telemetry_again_from_the_raw_backup", "curated.telemetry_of_last_year", "curated.x"}}
	for shard := range 2 {
		doc.Accounts = append(doc.Accounts, server.VerifyAccount{Stream: "telemetry", Shard: shard, Table: "curated.telemetry_of_wagons", Accepted: 1_602_017_455,
			InTable: 1_602_000_000, Dropped: 17_000, Failed: 400, Pending: 54, Lost: 1, OK: shard == 0})
	}
	doc.Totals.Lost = 2
	doc.Problems = []server.VerifyProblem{{Subject: "telemetry shard 1 → curated.telemetry_of_wagons", Detail: "the records 1:1950 to 1:2999 were acknowledged and are lost: the storage of the stream came back without them"}}
	doc.Notes = []server.VerifyProblem{{Subject: "telemetry shard 0 → curated.telemetry_of_wagons", Detail: "warning: 1,204 records expired before they were delivered; see stream.retention and the log"}}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(doc)
	}))
	defer srv.Close()
	t.Setenv("TARN_SERVER", srv.URL)
	t.Setenv("NO_COLOR", "1")
	status, shown := onTerminal(t, 80, "verify")
	if status != 1 {
		t.Errorf("status %d", status)
	}
	for line := range strings.Lines(shown) {
		if n := runewidth.StringWidth(strings.TrimSuffix(line, "\n")); n > 80 {
			t.Errorf("a line of %d cells: %s", n, line)
		}
	}
	for _, want := range []string{"accepted 1,602,017,455", "in table 1,602,000,000", "left out 17,000", "WRONG", "1:1950 to 1:2999", "1,204 records"} {
		if !strings.Contains(strings.Join(strings.Fields(shown), " "), want) {
			t.Errorf("%q is missing in\n%s", want, shown)
		}
	}
}
