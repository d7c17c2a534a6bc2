ALTER DOMAIN app.label
    ADD CONSTRAINT label_known --! ban-alter-domain-with-add-constraint
    CHECK (length(VALUE) < 100);
