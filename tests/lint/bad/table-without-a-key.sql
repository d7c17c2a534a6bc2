create table app.facts (fact text not null); --! no-primary-key
