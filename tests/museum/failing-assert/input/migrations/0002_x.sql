do $$ begin assert false, 'the rows do not add up'; end $$;
