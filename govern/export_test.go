package govern

import "time"

// NewRemoteAt is NewRemote with a clock.
func NewRemoteAt(issuer string, now func() time.Time, lost func()) (*Remote, error) {
	r, err := NewRemote(issuer, nil, nil, lost)
	if err == nil {
		r.now = now
	}
	return r, err
}
