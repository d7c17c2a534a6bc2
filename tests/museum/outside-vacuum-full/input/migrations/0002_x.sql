select 1;
VACUUM (FULL, ANALYZE) app.t;
