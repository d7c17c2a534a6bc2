-- Die Namen heißen größer, 日本語 🐘.
alter table app."Mixed Case"
    add column "für später" text;
comment on column app."Mixed Case"."für später" is 'größer; drop table x';
