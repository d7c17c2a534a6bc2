-- +goose NO TRANSACTION --! foreign-directive
vacuum app.log; --! no-transaction
