-- Policies and grants; of roles only those that every server has.

ALTER TABLE app.people ENABLE ROW LEVEL SECURITY;
ALTER TABLE app.tasks ENABLE ROW LEVEL SECURITY;
ALTER TABLE app.tasks FORCE ROW LEVEL SECURITY;
CREATE POLICY people_see ON app.people FOR SELECT TO PUBLIC USING (true);
CREATE POLICY people_change ON app.people AS PERMISSIVE FOR UPDATE TO pg_monitor
    USING (nickname IS NOT NULL) WITH CHECK (name <> 'root');
CREATE POLICY tasks_open ON app.tasks AS RESTRICTIVE TO PUBLIC USING (status <> 'done');
CREATE POLICY tasks_all ON app.tasks USING (owner_id = (
    SELECT id FROM app.people WHERE name = current_setting('app.user', true)
));

GRANT USAGE ON SCHEMA app TO pg_monitor;
GRANT SELECT, INSERT ON app.people TO pg_monitor WITH GRANT OPTION;
GRANT UPDATE (name, nickname) ON app.people TO pg_monitor;
GRANT SELECT ON ALL TABLES IN SCHEMA app TO pg_read_all_stats;
GRANT USAGE ON SEQUENCE app.numbers TO PUBLIC;
GRANT USAGE ON TYPE app.period TO pg_monitor;
REVOKE EXECUTE ON FUNCTION app.count_all() FROM PUBLIC;
GRANT EXECUTE ON PROCEDURE app.finish(integer, integer) TO pg_monitor;
ALTER DEFAULT PRIVILEGES IN SCHEMA app GRANT SELECT ON TABLES TO pg_monitor;
ALTER DEFAULT PRIVILEGES IN SCHEMA app REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
COMMENT ON POLICY tasks_open ON app.tasks IS 'done is done';
