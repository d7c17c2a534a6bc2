-- Uses the value that 0011 has added to the enum.

ALTER TABLE app.tasks ALTER COLUMN status SET DEFAULT 'waiting';
UPDATE app.tasks SET status = 'waiting' WHERE status = 'new';
ALTER TABLE app.events DETACH PARTITION app.events_2024;
ALTER TABLE app.events ATTACH PARTITION app.events_2024
    FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
