package client

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestUnreachable holds that a server which cannot be spoken to is told from one that is not there.
func TestUnreachable(t *testing.T) {
	handler := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	plain := httptest.NewServer(handler)
	defer plain.Close()
	secure := httptest.NewUnstartedServer(handler)
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	defer secure.Close()
	gone := httptest.NewServer(handler)
	gone.Close()
	for address, want := range map[string]string{
		secure.URL: "is not trusted",
		strings.Replace(plain.URL, "http:", "https:", 1):  "does not speak HTTPS",
		strings.Replace(secure.URL, "https:", "http:", 1): "speaks HTTPS only",
		gone.URL: "no Tarn answers at " + gone.URL,
	} {
		c, err := New(address, Credentials{})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Get(t.Context(), "/v1/status", new(map[string]any)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", address, err, want)
		}
	}
	c, err := New(plain.URL, Credentials{ID: "app", Secret: "x", Endpoint: gone.URL + "/oauth/token"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Exchange(t.Context()); err == nil || !strings.Contains(err.Error(), "no Tarn answers at "+gone.URL) {
		t.Errorf("the exchange elsewhere: %v", err)
	}
}
