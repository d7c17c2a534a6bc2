alter table app.events alter column payload type integer using length(payload); --! changing-column-type
