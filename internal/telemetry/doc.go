// Package telemetry declares the metrics of one Tarn process.
//
// A prometheus registry enters, a Metrics struct leaves; package engine makes one of each per
// engine and hands the parts what they observe. Nothing here is global: two engines in one process
// have two registries. Labels are names that a project declares (stream, table, pipeline) or small
// closed sets (code, outcome, task), never anything a producer sends.
package telemetry
