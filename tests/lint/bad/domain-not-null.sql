alter domain app.label set not null; --! scan-under-lock
