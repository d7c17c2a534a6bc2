create function app.one() returns integer language plpgsql as $ $ --! syntax
begin return 1; end $ $;
