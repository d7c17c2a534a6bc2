select 'create table app.a ()' \gexec
