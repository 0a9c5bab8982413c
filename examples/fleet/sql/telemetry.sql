-- One row in, one row out. "records" holds the events as typed columns: nested objects are structs,
-- and a text that is a time, like ts, is a TIMESTAMP in UTC.
SELECT
  *,
  -- The hottest of the four axle bearings: the number that the workshop watches.
  greatest(metrics.axle_1_c, metrics.axle_2_c, metrics.axle_3_c, metrics.axle_4_c) AS hottest_axle_c
FROM records
