package main

import "testing"

func TestShort(t *testing.T) {
	for in, want := range map[string]string{"10s": "10s", "1m0s": "1m", "1m30s": "1m30s", "168h0m0s": "168h", "1h30m0s": "1h30m", "0s": "0s"} {
		if got := short(in); got != want {
			t.Errorf("short(%q) = %q, want %q", in, got, want)
		}
	}
}
