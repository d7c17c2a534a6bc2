create table app.secrets (
    id bigint generated always as identity primary key,
    owner text not null,
    secret text not null
);
alter table app.secrets enable row level security;
alter table app.secrets force row level security;
create policy mine on app.secrets
    using (owner = (select current_setting('app.user', true)))
    with check (owner = (select current_setting('app.user', true)));
