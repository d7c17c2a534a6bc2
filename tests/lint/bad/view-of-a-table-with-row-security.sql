create view app.all_accounts as select id, owner from app.accounts; --! view-bypasses-rls
