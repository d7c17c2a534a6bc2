comment on table app.log is 'Größe'; --! not-utf-8
