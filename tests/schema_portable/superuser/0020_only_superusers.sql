-- What only a superuser may make; what stands outside every schema is made anew.

DROP FOREIGN DATA WRAPPER IF EXISTS portable_nothing CASCADE;
CREATE FOREIGN DATA WRAPPER portable_nothing OPTIONS (a 'b');
CREATE SERVER portable_server TYPE 'none' VERSION '1' FOREIGN DATA WRAPPER portable_nothing
    OPTIONS (host 'localhost');
CREATE USER MAPPING FOR PUBLIC SERVER portable_server OPTIONS (user 'nobody');
CREATE FOREIGN TABLE app.far (id integer NOT NULL, body text OPTIONS (column_name 'b'))
    SERVER portable_server OPTIONS (table_name 'far');
GRANT USAGE ON FOREIGN SERVER portable_server TO pg_monitor;

CREATE FUNCTION app.on_ddl() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM count(*) FROM pg_event_trigger_ddl_commands();
END $$;
DROP EVENT TRIGGER IF EXISTS portable_ddl;
CREATE EVENT TRIGGER portable_ddl ON ddl_command_end WHEN TAG IN ('CREATE TABLE', 'ALTER TABLE')
    EXECUTE FUNCTION app.on_ddl();
COMMENT ON EVENT TRIGGER portable_ddl IS 'looks on';

CREATE FUNCTION app.backwards(text, text) RETURNS integer LANGUAGE sql IMMUTABLE STRICT
RETURN bttextcmp($2, $1);
CREATE OPERATOR FAMILY app.backwards_family USING btree;
CREATE OPERATOR CLASS app.backwards_ops FOR TYPE text USING btree FAMILY app.backwards_family AS
    OPERATOR 1 >, OPERATOR 2 >=, OPERATOR 3 =, OPERATOR 4 <=, OPERATOR 5 <,
    FUNCTION 1 app.backwards(text, text);
CREATE INDEX animals_backwards ON app.animals (name app.backwards_ops);

CREATE FUNCTION app.always(integer) RETURNS boolean LANGUAGE sql IMMUTABLE LEAKPROOF RETURN true;
