CREATE TABLE app.colours (
    id serial PRIMARY KEY, --! integer-primary-key, prefer-identity
    name text NOT NULL
);
