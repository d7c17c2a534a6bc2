DROP TABLE IF EXISTS --! ban-drop-table
    app.log,
    app.buffer;
