-- What a trace is told by the server itself, in the scratch database alone: every table that is
-- written anew, with the reason; every command of DDL, also of a DO block; everything that is
-- dropped. It is noted in a setting that ends with the transaction: a table would be one more
-- object, and would be locked. Needs a superuser. No SET clause and no operator stands in the
-- functions: the search_path of the file is theirs.

create schema headwater_trace;
grant usage on schema headwater_trace to public;

create function headwater_trace.note(what pg_catalog.json) returns void language plpgsql as $note$
begin
    perform pg_catalog.set_config(
        'headwater.trace',
        pg_catalog.concat(
            pg_catalog.current_setting('headwater.trace', true), what, pg_catalog.chr(10)
        ),
        true
    );
end
$note$;

create function headwater_trace.rewritten() returns event_trigger language plpgsql as $rewritten$
begin
    perform headwater_trace.note(pg_catalog.json_build_object(
        'what', 'rewrite',
        'table', pg_catalog.pg_event_trigger_table_rewrite_oid()::pg_catalog.int8,
        'reason', pg_catalog.pg_event_trigger_table_rewrite_reason()
    ));
end
$rewritten$;

create function headwater_trace.done() returns event_trigger language plpgsql as $done$
begin
    perform headwater_trace.note(pg_catalog.json_build_object(
        'what', 'ddl', 'tag', one.command_tag, 'identity', one.object_identity
    )) from pg_catalog.pg_event_trigger_ddl_commands() as one;
end
$done$;

create function headwater_trace.dropped() returns event_trigger language plpgsql as $dropped$
begin
    perform headwater_trace.note(pg_catalog.json_build_object(
        'what', 'drop', 'kind', one.object_type, 'identity', one.object_identity,
        'original', one.original, 'normal', one.normal
    )) from pg_catalog.pg_event_trigger_dropped_objects() as one where not one.is_temporary;
end
$dropped$;

create event trigger headwater_rewritten on table_rewrite
    execute function headwater_trace.rewritten();
create event trigger headwater_done on ddl_command_end
    execute function headwater_trace.done();
create event trigger headwater_dropped on sql_drop
    execute function headwater_trace.dropped();
