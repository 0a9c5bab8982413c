-- Runs over every batch; `records` has the columns of the pipeline's schema.
SELECT
    *,
    amount > 1000 AS is_large
FROM records
