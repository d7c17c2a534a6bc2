do $$ begin raise exception 'no % here', 'luck' using hint = 'come again', errcode = '57P01'; end $$;
