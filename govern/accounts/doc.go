// Package accounts keeps who may ask the embedded authorization server for tokens: clients and users with
// hashed secrets, the keys that tokens are signed with, and what has been revoked. All of it is in the
// metadata database, so that every node and the command line see the same.
//
// Names and secrets enter, hashes are stored; a new secret leaves once, when it is made. Package authority
// signs people in with it, cmd/tarn manages it, and a Watch tells the Guard what is void.
package accounts
