--
-- PostgreSQL database dump
--

\restrict kVYxjUGn3v2fGsLnmoQqK1uXHhVJZLUQyqQ0V9s7rO0xYJ5eSg3yTz1bq2d8n4w

SET statement_timeout = 0;
CREATE TABLE public.a ();
\unrestrict kVYxjUGn3v2fGsLnmoQqK1uXHhVJZLUQyqQ0V9s7rO0xYJ5eSg3yTz1bq2d8n4w
