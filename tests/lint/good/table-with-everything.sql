create type app.colour as enum ('red', 'green');
create domain app.share as numeric check (value between 0 and 1);
create table app.paints (
    id bigint generated always as identity primary key,
    token uuid not null default gen_random_uuid() unique,
    colour app.colour not null,
    part app.share not null default 0.5,
    twice numeric generated always as (part * 2) stored,
    name text not null check (name <> ''),
    made timestamptz not null default now()
);
create index paints_made on app.paints (made);
alter table app.paints add column note text not null default clock_timestamp()::text;
alter table app.paints alter column name type varchar(100);
alter table app.paints add constraint paints_name_key unique (name);
alter table app.paints add constraint part_known check (part < 1);
insert into app.paints (colour, name) values ('red', 'brick'), ('green', 'moss');
update app.paints set part = 0.2;
alter table app.paints alter column part set not null;
