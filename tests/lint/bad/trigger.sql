create trigger orders_touch before update on app.orders --! create-trigger
    for each row when (old.qty <> new.qty) execute function app.touch();
