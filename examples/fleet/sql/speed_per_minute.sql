-- Runs once over all records of a minute, when the minute is complete.
SELECT window_start AS minute, device_id, count(*) AS readings,
       round(avg(metrics.speed_kmh), 1) AS mean_kmh, max(metrics.speed_kmh) AS top_kmh
FROM records GROUP BY window_start, device_id
