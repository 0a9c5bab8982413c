-- A wide record in, one row for each of these metrics out.
SELECT device_id AS component, 'wagon' AS type, m.*, ts AS at, 'telemetry' AS source
FROM (
  SELECT device_id, ts, unnest([
    {metric: 'speed',        value: to_json(metrics.speed_kmh), unit: 'km/h'},
    {metric: 'load',         value: to_json(metrics.load_kg),   unit: 'kg'},
    {metric: 'battery',      value: to_json(metrics.battery_v), unit: 'V'},
    {metric: 'hottest_axle', value: to_json(greatest(metrics.axle_1_c, metrics.axle_2_c, metrics.axle_3_c, metrics.axle_4_c)), unit: '°C'},
    {metric: 'status',       value: to_json(status),            unit: NULL}
  ]) AS m
  FROM records
)
