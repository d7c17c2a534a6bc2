set client_encoding = 'LATIN1';
do $$ begin raise exception 'café'; end $$;
