alter table app.orders alter column comment_text type app.label;
