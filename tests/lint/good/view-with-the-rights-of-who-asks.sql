create view app.my_accounts with (security_invoker = true) as select id, owner from app.accounts;
