alter table app."Mixed Case" add constraint "to orders" foreign key ("Order No") references app.orders (id) not valid; --! foreign-key-without-index, foreign-key-narrower
