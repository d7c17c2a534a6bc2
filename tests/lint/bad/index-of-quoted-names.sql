create index "Nach Größe" on app."Mixed Case" ("Größe"); --! require-concurrent-index-creation
