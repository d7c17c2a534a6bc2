-- Views, and what is built on them.

CREATE VIEW app.open_tasks WITH (security_barrier = true) AS
SELECT t.id, t.title, p.email, app.next_status(t.status) AS next
  FROM app.tasks t JOIN app.people p ON p.id = t.owner_id
 WHERE t.status <> 'done' AND t.title <> ALL (ARRAY['', ';']);

CREATE VIEW app.my_people WITH (security_invoker = true) AS
SELECT id, name, nickname FROM app.people WHERE nickname IS NOT NULL
  WITH CASCADED CHECK OPTION;

CREATE RECURSIVE VIEW app.ancestors (id, ancestor) AS
SELECT id, parent_id FROM app.tasks
UNION
SELECT a.id, t.parent_id FROM ancestors a JOIN app.tasks t ON t.id = a.ancestor;

CREATE MATERIALIZED VIEW app.by_status AS
SELECT status, count(*) AS tasks FROM app.tasks GROUP BY status
  WITH NO DATA;
CREATE UNIQUE INDEX by_status_status ON app.by_status (status);
REFRESH MATERIALIZED VIEW app.by_status;

CREATE RULE people_stay AS ON DELETE TO app.people WHERE OLD.tags @> '{admin}' DO INSTEAD NOTHING;
CREATE RULE cached AS ON UPDATE TO app.cache DO ALSO SELECT NEW.key;
COMMENT ON VIEW app.open_tasks IS 'what is to be done';
COMMENT ON RULE people_stay ON app.people IS 'admins are not deleted';
