set search_path = app, public; --! setting-left
comment on table log is 'What happened.';
