-- A nested record in: for each charger in its list, one row for each metric out.
SELECT depot || '/' || id AS component, 'charger' AS type, m.*, sent_at AS at, 'chargers' AS source
FROM (
  SELECT depot, sent_at, c.id, unnest([
    {metric: 'state',   value: to_json(c.state),              unit: NULL},
    {metric: 'power',   value: to_json(c.output.power_kw),    unit: 'kW'},
    {metric: 'charged', value: to_json(c.output.session_kwh), unit: 'kWh'}
  ]) AS m
  FROM (SELECT depot, sent_at, unnest(station.chargers) AS c FROM records)
)
