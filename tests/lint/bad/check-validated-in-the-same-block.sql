do $$ begin
    alter table app.orders add constraint qty_known check (qty > 0) not valid;
    alter table app.orders validate constraint qty_known; --! validate-in-same-file
end $$;
