-- A change of data, with what every text must survive: quotes, dollars, nested comments, no last ;

INSERT INTO app.people (email, name, nickname)
VALUES ('ada@example.org', 'Ada; Lovelace', NULL), (E'o\'brien@example.org', 'O''Brien', U&'\2205');

DO $do$
DECLARE
    person record;
BEGIN
    /* one task /* ; for each */ person; */
    FOR person IN SELECT id, name FROM app.people ORDER BY id LOOP
        INSERT INTO app.tasks (owner_id, title, price, planned)
        VALUES (person.id, 'task of ' || person.name, ROW(10.5, 'EUR'),
                app.period('2024-01-01', '2024-02-01'));
    END LOOP;
END
$do$;

INSERT INTO app.events (at, kind, body)
SELECT '2024-03-01'::timestamptz + n * interval '1 hour', CASE n % 3 WHEN 0 THEN 'click' ELSE 'x' END,
       jsonb_build_object('n', n)
  FROM generate_series(1, 100) AS n;

CALL app.finish(1, NULL);
SELECT app.joined('100%', '$1', ':name') -- no semicolon
