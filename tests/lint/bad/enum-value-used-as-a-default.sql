ALTER TYPE app.mood ADD VALUE IF NOT EXISTS 'sad' BEFORE 'calm';
alter table app.customers alter column mood set default 'sad'; --! enum-value-used, fails
