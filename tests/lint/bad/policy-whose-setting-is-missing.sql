create policy theirs on app.accounts for select
    using (owner = (select current_setting('app.user'))); --! policy-setting-missing-ok
