-- Every kind of type, and what types rest on.

CREATE SCHEMA app;
COMMENT ON SCHEMA app IS 'Every kind of object, on every version, without an extension.';

CREATE COLLATION app.by_bytes (provider = libc, locale = 'C');

CREATE DOMAIN app.email AS text COLLATE app.by_bytes
    CONSTRAINT email_has_at CHECK (VALUE ~ '^[^@;]+@[^@;]+$');
CREATE DOMAIN app.percent AS numeric(5, 2) DEFAULT 0 NOT NULL CHECK (VALUE BETWEEN 0 AND 100);

CREATE TYPE app.status AS ENUM ('new', 'open', 'done');
CREATE TYPE app.money_of AS (amount numeric(12, 2), currency char(3));
CREATE TYPE app.period AS RANGE (subtype = timestamptz, multirange_type_name = app.periods);

CREATE SEQUENCE app.numbers AS bigint START 1000 INCREMENT 10 MINVALUE 1000 CACHE 1 NO CYCLE;
COMMENT ON TYPE app.status IS 'Where a task stands; a; semicolon; is text here.';
