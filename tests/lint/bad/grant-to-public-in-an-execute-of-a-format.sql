do $$ begin --! granted-to-public
    execute format('grant select on app.%I to public', 'orders');
end $$;
