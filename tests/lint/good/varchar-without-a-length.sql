alter table app."Mixed Case" alter column "select" type varchar;
