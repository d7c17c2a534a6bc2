-- Triggers of every kind.

CREATE TRIGGER people_touch BEFORE INSERT OR UPDATE OF name, email ON app.people
    FOR EACH ROW WHEN (NEW.name IS NOT NULL) EXECUTE FUNCTION app.touch();

CREATE FUNCTION app.note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO app.events (at, kind) SELECT clock_timestamp(), TG_NAME || count(*) FROM changed
    ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$;
CREATE TRIGGER tasks_note AFTER UPDATE ON app.tasks
    REFERENCING OLD TABLE AS before NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION app.note();

CREATE FUNCTION app.check_parent() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.parent_id = NEW.id THEN RAISE EXCEPTION 'a task is not its own parent'; END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER tasks_parent_is_another AFTER INSERT OR UPDATE ON app.tasks
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION app.check_parent();

CREATE FUNCTION app.finish_by_view() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE app.tasks SET status = 'done', done = 100 WHERE id = OLD.id;
    RETURN OLD;
END $$;
CREATE TRIGGER open_tasks_delete INSTEAD OF DELETE ON app.open_tasks
    FOR EACH ROW EXECUTE FUNCTION app.finish_by_view();

CREATE TRIGGER cache_replica BEFORE UPDATE ON app.cache
    FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();
ALTER TABLE app.cache DISABLE TRIGGER cache_replica;
ALTER TABLE app.tasks ENABLE ALWAYS TRIGGER tasks_note;
COMMENT ON TRIGGER people_touch ON app.people IS 'touches';
