-- How much of what the grid gives does a depot take? The reference table knows how much that is.
SELECT r.depot AS component, 'depot' AS type, 'grid_load' AS metric,
       to_json(round(100 * list_sum([c.output.power_kw FOR c IN r.station.chargers]) / d.grid_kw, 1)) AS value,
       '%' AS unit, r.sent_at AS at, 'chargers' AS source
FROM records r JOIN curated.depots d ON d.depot = r.depot
