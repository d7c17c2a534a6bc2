create table app.doubtful (
    id bigint generated always as identity primary key,
    document json, --! json-column
    amount money, --! money-column
    made timestamp, --! prefer-timestamp-tz
    code char(3) --! ban-char-field
);
