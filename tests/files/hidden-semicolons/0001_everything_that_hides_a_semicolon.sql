-- A file of everything that hides a semicolon; a splitter that looks for it gets lost here.
/* a /* nested; */ comment; with ' and " and $$ */

create function add_one(i integer) returns integer
language sql
begin atomic
    select i; -- not the end; nor is this
    /* nor; /* is; */ this; */
    select case when i > 0 then i + 1 end;
end;

create function tagged() returns text
language plpgsql
as $body$
begin
    -- 'an open quote; $$ and another tag $other$
    perform $$ ; $$, $inner$ ; $inner$;
    return 'commit; rollback;';
end;
$body$;

create table "odd;name" (
    "a ""quoted"";column" text default E'it\'s; \\',
    b text default 'it''s; \',
    c text default U&'d\0061t; ',
    d bytea default '\x3b',
    "é;" text default $é$ ; $é$
);

insert into "odd;name" (b) values ('a;'
    'b;'), (e'\\;'), (B'1'::text || ';'), (n';');

do 'begin null; end;';

select 1 as last -- a last statement without its own semicolon
