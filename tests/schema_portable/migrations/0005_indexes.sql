-- An index of every method, and statistics.

CREATE INDEX people_name ON app.people USING btree (lower(name) DESC NULLS LAST) INCLUDE (email);
CREATE INDEX people_nickname ON app.people USING hash (nickname);
CREATE INDEX people_tags ON app.people USING gin (tags) WITH (fastupdate = off);
CREATE INDEX people_settings ON app.people USING gin (settings jsonb_path_ops);
CREATE INDEX tasks_place ON app.tasks USING gist (place);
CREATE INDEX tasks_place_quad ON app.tasks USING spgist (place kd_point_ops);
CREATE INDEX tasks_number ON app.tasks USING brin (number) WITH (pages_per_range = 32);
CREATE UNIQUE INDEX tasks_open_title ON app.tasks (title COLLATE app.by_bytes)
    WHERE status = 'open';
CREATE INDEX tasks_owner ON app.tasks (owner_id);
CREATE INDEX events_kind ON app.events (kind text_pattern_ops);
ALTER INDEX app.tasks_place SET (fillfactor = 70);
ALTER TABLE app.people CLUSTER ON people_pkey;

CREATE STATISTICS app.people_names (ndistinct, dependencies, mcv) ON name, nickname FROM app.people;
CREATE STATISTICS app.people_lower ON lower(name), (settings ->> 'a') FROM app.people;
COMMENT ON INDEX app.people_name IS 'names, backwards';
