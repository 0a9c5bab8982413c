//go:build !unix

package function

import "net"

// wasReset reports whether the other side reset a connection. Here that is not known.
func wasReset(net.Conn, error) bool { return false }
