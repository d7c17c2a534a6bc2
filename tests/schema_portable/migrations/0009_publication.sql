-- A publication stands outside every schema: it is made anew, so that a reset can run this again.

DROP PUBLICATION IF EXISTS portable_people;
CREATE PUBLICATION portable_people
    FOR TABLE app.people (id, email) WHERE (id > 0), app.animals
    WITH (publish = 'insert, update', publish_via_partition_root = true);
COMMENT ON PUBLICATION portable_people IS 'people';
