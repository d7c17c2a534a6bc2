LOCK TABLE ONLY app.customers IN SHARE MODE; --! lock-table
