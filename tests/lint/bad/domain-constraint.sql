alter domain app.label add constraint label_known check (value <> ''); --! ban-alter-domain-with-add-constraint
