alter table app.orders enable row level security; --! rls-without-policy, view-bypasses-rls
