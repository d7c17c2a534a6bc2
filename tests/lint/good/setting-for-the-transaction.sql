set local search_path = app, public;
SET LOCAL statement_timeout = '10min';
comment on table log is 'What happened.';
select set_config('work_mem', '64MB', true);
