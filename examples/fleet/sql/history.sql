-- Values of different types go to different columns of the history.
SELECT
  * EXCLUDE (value),
  CASE WHEN json_type(value) NOT IN ('VARCHAR', 'BOOLEAN') THEN value::DOUBLE END AS value_number,
  CASE WHEN json_type(value) = 'VARCHAR' THEN value->>'$' END AS value_text,
  CASE WHEN json_type(value) = 'BOOLEAN' THEN value::BOOLEAN END AS value_boolean
FROM records
