alter policy mine on app.accounts
    using (owner = current_setting('app.user', true)); --! policy-setting-per-row
