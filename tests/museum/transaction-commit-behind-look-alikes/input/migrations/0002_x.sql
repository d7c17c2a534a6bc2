/* a /* commit; */ */ select $$ commit; $$, 'commit;' as "commit;"; commit -- now
