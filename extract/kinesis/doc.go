// Package kinesis translates SQL of the retired Kinesis Data Analytics for SQL into extracts.
//
// What enters: a script of CREATE STREAM and CREATE PUMP statements. What leaves: for each pump the
// files of an extract, or every construct that has no translation, with its line and the reason. tarn
// extract import calls it.
//
// A pump becomes an extract from its source to its stream. STEP and FLOOR of a time in GROUP BY become
// a tumbling window. ROWTIME is the arrival of a record in the first stream; extracts behind it find it
// as the column rowtime, which every translated extract passes on, so that what they give does not depend
// on when they run.
package kinesis
