-- headwater: no-transaction
-- What runs in no transaction, or in one of its own.

CREATE INDEX CONCURRENTLY people_created ON app.people (created_at);
ALTER TYPE app.status ADD VALUE 'waiting' BEFORE 'done';
CREATE UNIQUE INDEX CONCURRENTLY people_email_lower ON app.people (lower(email));
ALTER TABLE app.regions DETACH PARTITION app.regions_south CONCURRENTLY;
REINDEX INDEX CONCURRENTLY app.tasks_owner;
REFRESH MATERIALIZED VIEW CONCURRENTLY app.by_status;
ALTER TABLE app.animals VALIDATE CONSTRAINT legs_are_few;
DROP INDEX CONCURRENTLY app.people_nickname;
VACUUM (ANALYZE) app.people;
