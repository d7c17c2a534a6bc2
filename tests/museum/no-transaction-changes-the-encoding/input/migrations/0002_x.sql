-- headwater: no-transaction
set client_encoding = 'LATIN1';
comment on table app.t is 'é';
