// Package v1 is version 1 of the project model: what tarn.yaml and a pipeline file may hold.
//
// Plain structs whose tags carry the keys, the documentation, the defaults and the ranges. Package
// project decodes files into them, checks what spans several keys, and turns them into the
// spec that the engine consumes; the editor schema and the reference are generated from the same
// tags. A change that older files would not survive makes a package v2 beside this one.
package v1
