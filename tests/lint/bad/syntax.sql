create tabel app.colours (id bigint); --! syntax
