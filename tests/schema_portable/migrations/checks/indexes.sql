SELECT count(*) = 0 AS "every index is valid" FROM pg_index WHERE NOT indisvalid;
SELECT count(*) >= 2 AS "the people are there" FROM app.people;
