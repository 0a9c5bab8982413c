// Package server is the HTTP shell of Tarn: routing, problem+json, OpenAPI, health, metrics, and
// the handlers that answer from other parts.
//
// Requests enter through New's handler, which package engine serves on the listener that Listen
// opened; what they ask for leaves through the concrete services and the Control functions of
// Options. The ingest door is a handler of its own (package ingest/httpdoor) that New mounts and
// documents.
//
// The mapping of error codes to HTTP statuses stands here and nowhere else (Status). There are no
// credentials yet: Listen refuses every address that is not loopback, and the handler refuses
// requests whose Host is not loopback and state-changing requests that a browser sends for another
// site, so that a web page cannot reach a lake through the browser of its owner.
package server
