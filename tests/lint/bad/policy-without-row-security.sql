create policy mine on app.products using (name = 'mine'); --! policy-without-rls
