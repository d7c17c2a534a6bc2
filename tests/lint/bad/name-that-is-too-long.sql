create table app.a_name_that_goes_on_and_on_and_on_until_it_is_longer_than_the_server_allows ( --! identifier-too-long
    id bigint generated always as identity primary key
);
