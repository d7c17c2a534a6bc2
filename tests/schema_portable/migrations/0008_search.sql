-- Text search: a dictionary, a configuration, and a column of vectors.

CREATE TEXT SEARCH DICTIONARY app.plain (TEMPLATE = simple, STOPWORDS = english);
CREATE TEXT SEARCH CONFIGURATION app.words (COPY = simple);
ALTER TEXT SEARCH CONFIGURATION app.words
    ALTER MAPPING FOR asciiword, word WITH app.plain, simple;
ALTER TABLE app.tasks ADD COLUMN search tsvector
    GENERATED ALWAYS AS (to_tsvector('app.words'::regconfig, title)) STORED;
CREATE INDEX tasks_search ON app.tasks USING gin (search);
CREATE CONVERSION app.latin FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8;
