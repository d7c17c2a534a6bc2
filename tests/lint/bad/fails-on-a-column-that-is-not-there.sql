alter table app.orders add column note text;
comment on column app.orders.nota is 'misspelt'; --! fails
