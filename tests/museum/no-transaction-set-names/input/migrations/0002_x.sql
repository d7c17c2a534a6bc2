-- headwater: no-transaction
set names 'LATIN1';
comment on table app.t is 'é';
