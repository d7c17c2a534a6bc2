CREATE POLICY everybody ON app.accounts FOR UPDATE USING (true); --! policy-always-true
