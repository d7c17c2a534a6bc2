ALTER TABLE app.visits ATTACH PARTITION app.visits_fr FOR VALUES IN ('fr'); --! attach-partition
