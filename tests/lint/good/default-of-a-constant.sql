alter table app.orders add column channel text not null default 'shop';
