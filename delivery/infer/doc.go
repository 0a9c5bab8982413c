// Package infer keeps the input schema of one stream for one delivery: which columns its JSON
// records have, of which types, and why.
//
// What enters: JSON records, the schema a pipeline declares, the policy of on_schema_change. What
// leaves: the columns for DuckDB's read_json and the select list over them (Input), the changes a
// record asks of the table (Effect), the reason a record does not fit (Misfit), records put into a
// form DuckDB reads without loss (Rewrite), an explanation (Explain), and a document that is
// committed with the table's data (Document, Load). Who calls: package delivery. It does no I/O.
//
// # Order of calls
//
// New or Load. For a new table Sample up to 1,000 records, then Decide. Then for every shape that
// Knows does not know, Observe one record of it: bring Effect.Added and Effect.Widened into the
// table, put the Document into the next commit when Effect.Changed, Learn(shape, Effect.Verdict()).
// A misfit's shape stays unknown, so each of its records is observed and fails alone. Records whose
// verdict is Rewrite pass Rewrite; all others go to DuckDB as they are. When DuckDB refuses a batch,
// Check finds the record. Observe before Decide decides from what was sampled, or from that record.
//
// # Types of an inferred column
//
// A path gets its type from the values of the sample; null says nothing.
//
//	all values are                            the column is
//	true, false                               BOOLEAN
//	integers of 64 bits                       BIGINT
//	numbers                                   DOUBLE; JSON if among them are integers a double would
//	                                          round (beyond 2^53) or numbers beyond its range
//	ISO timestamps, all with an offset        TIMESTAMP, converted to UTC
//	ISO timestamps, all without one           TIMESTAMP, taken as UTC
//	ISO dates                                 DATE
//	other strings                             VARCHAR; also a mixture of the three above, timestamps
//	                                          finer than microseconds, and any string in an array
//	arrays of one of these                    LIST
//	arrays that are all empty, or mixed       JSON
//	objects of a stable shape                 STRUCT
//	other objects                             JSON
//	of several rows of this table             JSON
//	only null                                 no column, until a value comes
//
// Objects are no STRUCT when they have more than 64 distinct keys, keys that look like identifiers
// (numbers, UUIDs, dates), keys that DuckDB cannot name, more than 16 keys of which most are in
// fewer than 2 % of the objects, more than 8 keys of which an object has less than a quarter,
// several members whose values vary in kind, or lie deeper than 6 levels. With fewer than 10
// objects to judge by, a STRUCT has at most 32 keys and two levels below it.
//
// A field that comes after Decide is judged in the same way by the one record at hand, except that
// strings are VARCHAR: one value is no sample.
//
// # Records against columns
//
//	column            takes, inferred            takes also, declared
//	BOOLEAN           true, false                "true", "no" and the like
//	INTEGER           (never inferred)           integers in range, "5", 5.0; not 5.5
//	BIGINT            integers; widens to DOUBLE "5", 5.0; not 5.5, and it does not widen
//	FLOAT, DOUBLE     numbers in range           "1.5"
//	DECIMAL           (never inferred)           numbers and "1.5" in range, rounded to the scale
//	DATE              "2026-11-20"
//	TIMESTAMP, …TZ    what DuckDB reads as one
//	TIME              (never inferred)           "03:00:00.5", without an offset
//	UUID              (never inferred)           strings of 32 hexadecimal digits
//	BLOB              (never inferred)           strings, as their UTF-8 bytes
//	VARCHAR           strings, numbers, booleans arrays and objects, as their JSON text
//	JSON              everything
//	LIST, MAP, STRUCT arrays and objects whose parts fit
//
// Anything else is a misfit: true in a BIGINT, which DuckDB would store as 1, a number in a
// TIMESTAMP, an array in a STRUCT. BIGINT widens to DOUBLE only when neither the sample nor
// Options.CanWiden knows of an integer in the column that a double would round.
//
// # Members without a column
//
// A column has exactly the name of its key. A member that cannot have one keeps its value in the
// JSON column _rest, in the nesting it had: {"Id": 1, "id": 2} becomes Id = 1, _rest = {"id": 2}.
// That is the one rule for every such case, so that nothing is renamed and nothing is lost: keys
// that differ only in case (DuckDB compares ASCII letters in either case as equal), empty keys,
// keys with control characters or of more than 255 bytes, a key named _rest, keys beyond the
// limits on columns and members. A sample with more than 500 distinct top-level keys closes the
// table: only keys in at least 5 % of the records are columns, later ones go into _rest.
//
// Of a repeated key the last value counts. DuckDB refuses such a record, so Rewrite drops the
// others, which RFC 8259 leaves to the reader. Explicit null and absence are the same.
//
// # Where precision ends
//
// A DOUBLE holds the nearest double, and a JSON column the nearest double of a number with a
// fraction (integers there keep every digit). A TIMESTAMP drops what is finer than a microsecond
// once the column is decided. Shapes do not tell these values apart, so they are not misfits.
package infer
