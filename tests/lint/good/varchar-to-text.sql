ALTER TABLE app."Mixed Case" ALTER COLUMN "select" TYPE text;
