// Package fs is the bucket over a local folder: write a temporary file, fsync it, rename it, fsync
// the folder. Keys are paths below the folder; no key and no symbolic link leads out of it.
//
// The operating system is reached through System, so that tests can take away what was not
// fsynced (lake/laketest). Caller: engine.
package fs
