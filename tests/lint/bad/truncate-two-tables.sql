TRUNCATE TABLE
    app.log, --! truncate
    app.tickets RESTART IDENTITY; --! truncate
