-- Every kind of routine, and the operators, aggregates and casts made of them.

CREATE FUNCTION app.full_price(price app.money_of, factor numeric DEFAULT 1.0)
RETURNS numeric LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
AS $$ SELECT (price).amount * factor; $$;

CREATE FUNCTION app.next_status(s app.status) RETURNS app.status LANGUAGE sql IMMUTABLE
BEGIN ATOMIC
    SELECT CASE s WHEN 'new' THEN 'open'::app.status ELSE 'done'::app.status END;
END;

CREATE FUNCTION app.touch() RETURNS trigger LANGUAGE plpgsql SET search_path = app, pg_temp
AS $body$
BEGIN
    -- A quote ' and a semicolon; inside; $$ of another kind $$
    NEW.settings := NEW.settings || jsonb_build_object('touched', true);
    RETURN NEW;
END;
$body$;

CREATE FUNCTION app.count_all(OUT people bigint, OUT tasks bigint) LANGUAGE plpgsql STABLE
SECURITY DEFINER SET search_path = '' COST 50
AS $$
BEGIN
    SELECT count(*) INTO people FROM app.people;
    SELECT count(*) INTO tasks FROM app.tasks;
END
$$;

CREATE FUNCTION app.joined(VARIADIC parts text[]) RETURNS text LANGUAGE sql IMMUTABLE
RETURN array_to_string(parts, ' ');

CREATE FUNCTION app.tasks_of(who bigint) RETURNS SETOF app.tasks LANGUAGE sql STABLE ROWS 10
AS 'SELECT * FROM app.tasks WHERE owner_id = who';

CREATE PROCEDURE app.finish(task integer, INOUT changed integer DEFAULT 0) LANGUAGE plpgsql
AS $$
BEGIN
    UPDATE app.tasks SET status = 'done', done = 100 WHERE id = task;
    GET DIAGNOSTICS changed = ROW_COUNT;
END
$$;

CREATE PROCEDURE app.forget_cache() LANGUAGE sql BEGIN ATOMIC DELETE FROM app.cache; END;

CREATE FUNCTION app.add_money(numeric, app.money_of) RETURNS numeric LANGUAGE sql IMMUTABLE
RETURN $1 + coalesce(($2).amount, 0);
CREATE AGGREGATE app.total(app.money_of) (
    SFUNC = app.add_money, STYPE = numeric, INITCOND = '0', PARALLEL = SAFE
);
ALTER FUNCTION app.add_money(numeric, app.money_of) PARALLEL SAFE;

CREATE FUNCTION app.same_money(app.money_of, app.money_of) RETURNS boolean LANGUAGE sql IMMUTABLE
RETURN ($1).currency = ($2).currency AND ($1).amount = ($2).amount;
CREATE OPERATOR app.=== (
    LEFTARG = app.money_of, RIGHTARG = app.money_of, FUNCTION = app.same_money,
    COMMUTATOR = OPERATOR(app.===), RESTRICT = eqsel
);

CREATE FUNCTION app.as_numeric(app.money_of) RETURNS numeric LANGUAGE sql IMMUTABLE
RETURN ($1).amount;
CREATE CAST (app.money_of AS numeric) WITH FUNCTION app.as_numeric(app.money_of) AS ASSIGNMENT;

COMMENT ON FUNCTION app.joined(text[]) IS 'joins';
COMMENT ON AGGREGATE app.total(app.money_of) IS 'adds up';
