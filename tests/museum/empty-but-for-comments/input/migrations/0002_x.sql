-- add the table
/* later */
