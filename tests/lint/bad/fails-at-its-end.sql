create table app.pairs ( --! fails
    id bigint primary key,
    other bigint references app.pairs (id) deferrable initially deferred
);
create index pairs_other on app.pairs (other);
insert into app.pairs values (1, 2);
