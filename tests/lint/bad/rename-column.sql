alter table app.orders rename column comment_text to remark; --! renaming-column
