// Package restart keeps the workers of deliveries going.
//
// What enters: a session, which works until it is told to stop or something fails, and a context. What
// leaves: sessions one after the other, with a growing pause behind each that failed, and a context for
// work that may go on a little after the end. Packages delivery and delivery/raw call it; it knows nothing
// of what a session does.
package restart
