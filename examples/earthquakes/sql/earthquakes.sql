-- The feed gives times as milliseconds since 1970, which are just numbers to schema inference.
-- occurred_at is the time of the quake as a TIMESTAMP in UTC; the table is partitioned by its day.
SELECT
  id,
  epoch_ms(properties.time) AS occurred_at,
  properties,
  geometry
FROM records
