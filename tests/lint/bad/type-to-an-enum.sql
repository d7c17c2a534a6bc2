alter table app.customers alter column mood type app.spare_mood using mood::text::app.spare_mood; --! changing-column-type
