alter table app.orders add column made_by text not null default current_user;
