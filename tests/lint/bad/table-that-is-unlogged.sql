create unlogged table app.cache (id bigint generated always as identity primary key); --! unlogged-table
