alter table app.products alter column details type app.spare_label;
