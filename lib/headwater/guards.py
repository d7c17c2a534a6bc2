"""The guards of the runner: what each stands against, where it is, and the test that fails without.

A list for people and for `tests/test_guards.py`, which takes each guard out of a copy of the code
and sees its test fail. Nothing of Headwater reads it. Who changes the line of a guard changes it
here as well: a text that is not found exactly once fails the test.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """One guard, and how it is taken out."""

    name: str
    against: str
    """What would happen without it."""
    module: str
    """Its file, below `headwater`."""
    text: str
    """The piece of the source that it stands in; there exactly once."""
    without: str
    """What stands there when the guard is taken out."""
    test: str
    """The test that fails then: file and function below `tests`."""


# --- reading files ----------------------------------------------------------------------------

_READING = (
    Guard(
        name="a NUL byte is refused",
        against="libpq stops reading there: the rest of the file is silently not run",
        module="files/text.py",
        text='(nul := raw.find(b"\\x00")) >= 0',
        without="(nul := -1) >= 0",
        test="test_files_text.py::test_a_nul_byte_is_refused_with_its_line",
    ),
    Guard(
        name="a byte-order mark goes before hashing",
        against="an editor that adds one makes an applied file an edited one, or a syntax error",
        module="files/text.py",
        text='text = raw.removeprefix(_BOM).decode("utf-8")',
        without='text = raw.decode("utf-8")',
        test="test_files_text.py::test_a_byte_order_mark_does_not_change_the_checksum",
    ),
    Guard(
        name="CRLF becomes LF before hashing",
        against="a checkout on Windows makes every applied file an edited one",
        module="files/text.py",
        text='return text.replace("\\r\\n", "\\n") if "\\r" in text else text',
        without="return text",
        test="test_files_text.py::test_line_ends_do_not_change_the_checksum",
    ),
    Guard(
        name="only UTF-8 is read",
        against="text in another encoding is stored as question marks",
        module="files/text.py",
        text='text = raw.removeprefix(_BOM).decode("utf-8")',
        without='text = raw.removeprefix(_BOM).decode("utf-8", "replace")',
        test="test_files_text.py::test_a_byte_that_is_not_utf_8_is_refused_with_its_place",
    ),
    Guard(
        name="transaction control is refused by grammar",
        against="a COMMIT in a file makes half of it stay when the rest fails",
        module="files/refusals.py",
        text='statement.kind == "transaction_stmt" or _sets_transaction(statement)',
        without="_sets_transaction(statement)",
        test="test_files_refusals.py::test_transaction_control_is_refused",
    ),
    Guard(
        name="SET TRANSACTION is refused by grammar",
        against="a file makes its transaction read-only, and cannot be recorded",
        module="files/refusals.py",
        text='statement.kind == "transaction_stmt" or _sets_transaction(statement)',
        without='statement.kind == "transaction_stmt"',
        test="test_files_refusals.py::test_transaction_control_is_refused",
    ),
    Guard(
        name="COPY FROM STDIN is refused",
        against="its data are taken for SQL, or the session waits for data for ever",
        module="files/refusals.py",
        text='statement.kind == "copy_stmt" and not node.filename and node.is_from',
        without="False",
        test="test_files_refusals.py::test_copy_from_stdin_without_data_is_refused",
    ),
    Guard(
        name="commands of psql are called by name",
        against="a dump that begins with \\restrict is a syntax error that nobody understands",
        module="files/grammar.py",
        text="""if message.startswith('syntax error at or near "\\\\'):""",
        without="if False:",
        test="test_files_grammar.py::test_a_psql_command_is_named",
    ),
    Guard(
        name="an invisible character in a name is refused",
        against="a no-break space makes one name of two words, which nobody can type again",
        module="files/refusals.py",
        text="        *_invisible(script, file),\n",
        without="",
        test="test_files_refusals.py::"
        "test_every_invisible_character_that_the_grammar_accepts_is_refused",
    ),
    Guard(
        name="what cannot run in a transaction is refused there",
        against="the files before it are applied, and then it fails",
        module="files/refusals.py",
        text="return _refusal_in(statement) if transactional else",
        without="return None if transactional else",
        test="test_files_refusals.py::test_a_statement_that_cannot_run_in_a_transaction_is_refused",
    ),
    Guard(
        name="a file that is sent in parts is read in one way",
        against="SET standard_conforming_strings moves the end of a string behind the parser's",
        module="files/refusals.py",
        text="if setting := _reads_on_otherwise(statement):",
        without='if setting := "":',
        test="test_files_refusals.py::"
        "test_a_file_that_is_sent_in_parts_does_not_change_how_they_are_read",
    ),
    Guard(
        name="IF NOT EXISTS is refused beside CONCURRENTLY",
        against="the invalid index of a failed build is taken for a finished one",
        module="files/refusals.py",
        text='if statement.kind == "index_stmt" and node.concurrent and node.if_not_exists:',
        without="if False:",
        test="test_files_refusals.py::"
        "test_concurrently_if_not_exists_is_refused_outside_a_transaction",
    ),
    Guard(
        name="every file is checked before the first one runs",
        against="two files are applied before the third turns out to be none",
        module="postgres/run.py",
        text="    accepted, findings = check_all(migrations)\n    if findings:\n",
        without="    accepted, findings = check_all(migrations)\n    if not accepted:\n",
        test="test_postgres_run.py::test_every_file_is_checked_before_the_first_one_runs",
    ),
)

# --- files and history ------------------------------------------------------------------------

_PLANNING = (
    Guard(
        name="an edited file stops everything",
        against="two databases with one history have two schemas",
        module="postgres/plan.py",
        text="if row.checksum == migration.checksum:",
        without="if True:",
        test="test_postgres_plan.py::test_an_edited_file_is_a_problem_with_its_way_out",
    ),
    Guard(
        name="a file of an earlier date is not run unasked",
        against="a branch that is merged late runs behind what was built on its absence",
        module="postgres/plan.py",
        text="if migration.prefix < newest and migration.version not in allowed:",
        without="if False:",
        test="test_postgres_plan.py::test_an_older_file_that_came_later_is_out_of_order",
    ),
    Guard(
        name="pending is what history lacks",
        against="a file that is less than the newest version is never run",
        module="postgres/plan.py",
        text="if entry.migration is not None and entry.applied is None",
        without="if entry.migration is not None and entry.applied is None"
        ' and entry.version > max((row.version for row in history), default="")',
        test="test_postgres_plan.py::"
        "test_pending_is_what_history_lacks_never_what_is_greater_than_the_newest",
    ),
    Guard(
        name="a half-done file cannot become a transactional one",
        against="statements that have run already run once more",
        module="postgres/plan.py",
        text="return entry.migration is None or entry.migration.transactional",
        without="return entry.migration is None",
        test="test_postgres_plan.py::test_a_half_done_file_may_not_become_transactional",
    ),
    Guard(
        name="a history of another tool is refused",
        against="every file runs on a database that another tool has built",
        module="postgres/history.py",
        text="if not set(_COLUMNS) <= set(columns):",
        without="if False:",
        test="test_postgres_history.py::"
        "test_a_table_of_another_tool_is_recognised_refused_and_not_altered",
    ),
    Guard(
        name="a history with rules or triggers is refused",
        against="a record is said to be written, and is not",
        module="postgres/history.py",
        text="    _require_plain(settings, is_plain=is_plain)\n",
        without="",
        test="test_postgres_history.py::test_a_history_that_could_swallow_records_is_refused",
    ),
    Guard(
        name="nothing but pg_catalog is searched by what we read",
        against="an operator in somebody's schema decides what is applied",
        module="postgres/connect.py",
        text="\"pg_catalog.set_config('search_path', '', true), \"",
        without="\"pg_catalog.current_setting('search_path'), \"",
        test="test_postgres_history.py::"
        "test_nobodys_objects_ahead_in_the_path_capture_our_bookkeeping",
    ),
    Guard(
        name="only a marked or empty database is disposable",
        against="reset drops the schemas of production",
        module="postgres/databases.py",
        text="return is_marked(connection) or is_empty(connection)",
        without="return True",
        test="test_postgres_databases.py::"
        "test_a_database_that_is_neither_empty_nor_marked_is_refused",
    ),
    Guard(
        name="the mark is a whole line",
        against="a comment that speaks of the mark is taken for it",
        module="postgres/databases.py",
        text='return MARK in (line.removesuffix("\\r") for line in comment.split("\\n"))',
        without="return MARK in comment",
        test="test_postgres_databases.py::test_only_the_exact_line_is_the_mark",
    ),
)

# --- connections and the lock -----------------------------------------------------------------

_CONNECTING = (
    Guard(
        name="a standby is refused before anything",
        against="a run fails in its middle, where a copy cannot be written to",
        module="postgres/rights.py",
        text="if session.standby:",
        without="if False:",
        test="test_postgres_preview.py::test_a_standby_shows_a_dry_run_and_refuses_a_trial",
    ),
    Guard(
        name="a read-only session is refused before anything",
        against="a run fails in its middle, where its role may only read",
        module="postgres/rights.py",
        text="if session.read_only:",
        without="if False:",
        test="test_postgres_rights.py::"
        "test_a_session_that_could_not_do_its_work_is_refused_untouched",
    ),
    Guard(
        name="a session whose triggers sleep is refused",
        against="foreign keys are not checked, and broken rows stay",
        module="postgres/rights.py",
        text='if session.replication_role != "origin":',
        without="if False:",
        test="test_postgres_rights.py::"
        "test_a_session_that_could_not_do_its_work_is_refused_untouched",
    ),
    Guard(
        name="a pooler that shares its sessions is refused",
        against="the lock holds nobody off, and our SET reaches the application",
        module="postgres/pooler.py",
        text="if len(ours) > 1 or ours & theirs:",
        without="if False:",
        test="test_postgres_pooler.py::"
        "test_transaction_mode_is_refused_and_nothing_is_left_in_its_sessions",
    ),
    Guard(
        name="nothing is prepared",
        against="a pooler loses the prepared statement, and a cached plan breaks under DDL",
        module="postgres/connect.py",
        text="prepare_threshold=None",
        without="prepare_threshold=5",
        test="test_postgres_connect.py::test_nothing_is_ever_prepared",
    ),
    Guard(
        name="bookkeeping does not wait for ever",
        against="a firewall that forgot the connection stops the run for ever",
        module="postgres/ticking.py",
        text="if waited_s >= ANSWER_S:",
        without="if False:",
        test="test_postgres_ticking.py::test_a_bookkeeper_does_not_wait_for_ever",
    ),
    Guard(
        name="the server notices a client that is gone",
        against="a statement goes on for hours, and nobody records it",
        module="postgres/connect.py",
        text='b"SET client_connection_check_interval = %d;\\n" % _CHECK_INTERVAL_MS',
        without='b""',
        test="test_postgres_connect.py::test_the_pins_are_in_force_over_the_settings",
    ),
    Guard(
        name="row_security is pinned",
        against="a file that moves data moves only the rows that a policy shows",
        module="postgres/connect.py",
        text="SET row_security = off;\n",
        without="",
        test="test_postgres_connect.py::test_the_pins_are_in_force_over_the_settings",
    ),
    Guard(
        name="the time zone is pinned",
        against="a timestamp becomes another moment on another machine",
        module="postgres/connect.py",
        text="SET TimeZone = 'UTC';\n",
        without="",
        test="test_postgres_connect.py::test_a_file_runs_under_the_pins_and_the_databases_own_path",
    ),
    Guard(
        name="the role's statement_timeout is off",
        against="a long migration is ended by a limit that is meant for the application",
        module="postgres/connect.py",
        text="SET statement_timeout = 0;\n",
        without="",
        test="test_postgres_connect.py::test_a_file_runs_under_the_pins_and_the_databases_own_path",
    ),
    Guard(
        name="the role's idle_session_timeout is off",
        against="the connection of the lock is ended while a long file runs",
        module="postgres/connect.py",
        text="SET idle_session_timeout = 0;\n",
        without="",
        test="test_postgres_run.py::test_the_timeouts_of_the_role_do_not_reach_lock_and_journal",
    ),
    Guard(
        name="a password is taken out of every error",
        against="the log of a build server shows it to everybody",
        module="postgres/connect.py",
        text='text = text.replace(secret, "***")',
        without="pass",
        test="test_postgres_connect.py::test_a_server_that_repeats_the_password_is_not_repeated",
    ),
    Guard(
        name="libpq's variables do not reach the private server",
        against="a PGOPTIONS that is meant for another server changes what a file means",
        module="postgres/connect.py",
        text="with libpq_variables_hidden() if target.private else nullcontext():",
        without="with nullcontext():",
        test="test_postgres_connect.py::test_libpqs_variables_do_not_reach_a_private_target",
    ),
    Guard(
        name="the lock is polled, not waited for",
        against="a waiting runner and the CONCURRENTLY of the working one deadlock",
        module="postgres/lock.py",
        text='"SELECT pg_catalog.pg_try_advisory_lock(%s)"',
        without='"SELECT true FROM pg_catalog.pg_advisory_lock(%s)"',
        test="test_postgres_lock.py::test_the_waiting_runner_is_in_no_transaction",
    ),
    Guard(
        name="the lock has a connection in autocommit",
        against="a runner that holds or awaits the lock holds up every CONCURRENTLY",
        module="postgres/connect.py",
        text="autocommit=True",
        without='autocommit=purpose != "lock"',
        test="test_postgres_lock.py::test_the_waiting_runner_is_in_no_transaction",
    ),
    Guard(
        name="history is read again under the lock",
        against="a runner that waited runs what the other has run meanwhile",
        module="postgres/run.py",
        text="            plan = plan_for(connection, folder, settings, to=to, "
        "out_of_order=out_of_order)\n            require_no_problems(plan)\n",
        without="            plan = first\n",
        test="test_postgres_transaction.py::test_what_another_runner_did_while_we_waited_is_seen",
    ),
    Guard(
        name="no file begins when the lock was lost",
        against="two runners work at once",
        module="postgres/sequence.py",
        text="if session.deferred is None and not session.lock_is_held():",
        without="if False:",
        test="test_postgres_transaction.py::"
        "test_a_file_does_not_begin_when_the_lock_was_lost_behind_the_one_before",
    ),
    Guard(
        name="the end of the lock's session is awaited behind its words",
        against="a session that has just been ended is taken for a sound one",
        module="postgres/job.py",
        text="while has_heard(self.lock, patience_s):",
        without="if has_heard(self.lock, patience_s):",
        test="test_postgres_stepwise.py::test_no_statement_begins_without_the_lock",
    ),
)

# --- a file in its transaction ----------------------------------------------------------------

_TRANSACTIONAL = (
    Guard(
        name="the savepoint is released behind the file",
        against="a file that ended the transaction is recorded in another one",
        module="postgres/transaction.py",
        text='after=b"RELEASE %s;\\n" % name',
        without='after=b""',
        test="test_postgres_transaction.py::"
        "test_another_transaction_of_the_same_kind_lacks_our_savepoint",
    ),
    Guard(
        name="no file knows the savepoint's name",
        against="a file that makes one of the same name deceives the guard",
        module="postgres/transaction.py",
        text="secrets.token_hex(8).encode()",
        without='b"0123456789abcdef"',
        test="test_postgres_transaction.py::test_no_file_knows_the_name_of_our_savepoint",
    ),
    Guard(
        name="the transaction carries a mark",
        against="another transaction with the same savepoint is taken for ours",
        module="postgres/transaction.py",
        text="if not judged.same_transaction:",
        without="if False:",
        test="test_postgres_transaction.py::"
        "test_another_transaction_with_our_savepoint_lacks_our_mark",
    ),
    Guard(
        name="the server's statements are counted",
        against="a statement that the grammar did not see was checked by nobody",
        module="postgres/transaction.py",
        text="if expected is not None and count != expected:",
        without="if False:",
        test="test_postgres_transaction.py::"
        "test_the_server_must_find_as_many_statements_as_the_grammar",
    ),
    Guard(
        name="the record must be kept",
        against="a rule that the file makes swallows its record, and it runs again",
        module="postgres/transaction.py",
        text="if not judged.kept:",
        without="if False:",
        test="test_postgres_history.py::test_a_file_that_takes_its_own_record_away_is_rolled_back",
    ),
    Guard(
        name="the lock must be held when a file is committed",
        against="two runners commit at once",
        module="postgres/transaction.py",
        text="            _require_lock(job, session)\n",
        without="",
        test="test_postgres_lock.py::test_a_run_whose_lock_is_lost_stops_before_its_next_file",
    ),
    Guard(
        name="a post-condition is asked before COMMIT",
        against="a file that did not do what it should is recorded",
        module="postgres/transaction.py",
        text="    require_sentences(connection, job.file.sentences, job.migration)\n",
        without="",
        test="test_postgres_run.py::"
        "test_a_post_condition_that_does_not_hold_rolls_back_and_is_named",
    ),
    Guard(
        name="the operators of a record are the server's own",
        against="an operator that the file made judges its own record",
        module="postgres/record.py",
        text="WHERE c.oid OPERATOR(pg_catalog.=) %(name)b",
        without="WHERE c.oid = %(name)b",
        test="test_postgres_record.py::"
        "test_an_operator_of_a_file_does_not_stand_in_for_one_of_the_servers",
    ),
    Guard(
        name="the table is looked at when a file names it",
        against="a trigger that the file makes takes its record away",
        module="postgres/session.py",
        text="names_history=settings.history_table in text.lower(),",
        without="names_history=False,",
        test="test_postgres_record.py::"
        "test_a_later_file_that_takes_its_own_record_away_is_rolled_back[itself]",
    ),
    Guard(
        name="the table is looked at when code of the database names it",
        against="a function that the file calls takes its record away",
        module="postgres/session.py",
        text="self.names_history or row != (False,)",
        without="self.names_history or False",
        test="test_postgres_record.py::"
        "test_a_later_file_that_takes_its_own_record_away_is_rolled_back[by a function]",
    ),
    Guard(
        name="the table is looked at when SQL may be put together",
        against="a name that stands in no text takes the record away",
        module="postgres/session.py",
        text="knows = self.stays is False and self.names_history is False",
        without="knows = self.names_history is False",
        test="test_postgres_record.py::"
        "test_a_later_file_that_takes_its_own_record_away_is_rolled_back[by dynamic SQL]",
    ),
    Guard(
        name="a COMMIT that is sent ahead must be answered by COMMIT",
        against="a file that was rolled back is told to be applied",
        module="postgres/transaction.py",
        text="if not says_committed(reply):",
        without="if False:",
        test="test_postgres_transaction.py::"
        "test_what_the_server_refuses_at_commit_is_told_of_its_own_file",
    ),
    Guard(
        name="what reads the next file as another text goes before its COMMIT",
        against="the encoding that one file sets spoils the texts of the next",
        module="postgres/transaction.py",
        text="not _is_read_as_usual(session.connection)",
        without="False",
        test="test_postgres_transaction.py::"
        "test_how_one_file_has_texts_read_is_not_how_the_next_is_read",
    ),
    Guard(
        name="no COMMIT waits for a large file to be read",
        against="the tables of one file stay locked while the next is parsed",
        module="postgres/transaction.py",
        text="not upcoming.is_small or ",
        without="",
        test="test_postgres_transaction.py::test_a_large_file_does_not_keep_the_locks_of_the_one_before",
    ),
    Guard(
        name="a file that the next one's message took back runs again",
        against="a file that was sound is neither applied nor told to have failed",
        module="postgres/transaction.py",
        text="_run_again(taken.job, session)\n        except _NotCleaned",
        without="pass\n        except _NotCleaned",
        test="test_postgres_transaction.py::"
        "test_a_message_that_is_refused_as_a_whole_takes_nothing_from_the_file_before",
    ),
    Guard(
        name="a file does not run on a session that could not be cleaned",
        against="it finds what the one before has left",
        module="postgres/transaction.py",
        text="        raise _NotCleaned\n",
        without="        pass\n",
        test="test_postgres_transaction.py::"
        "test_a_session_that_cannot_be_cleaned_is_replaced_and_the_file_runs",
    ),
    Guard(
        name="the role is ours again when a file is recorded",
        against="a file that ends as another role cannot be recorded, or not as ours",
        module="postgres/job.py",
        text='_AS_OURSELVES = b"RESET SESSION AUTHORIZATION; RESET ROLE;',
        without='_AS_OURSELVES = b"',
        test="test_postgres_record.py::test_a_file_that_becomes_somebody_else_is_recorded_by_us",
    ),
    Guard(
        name="a file waits for a lock no longer than lock_timeout",
        against="behind a waiting ALTER TABLE every SELECT of the application queues",
        module="postgres/connect.py",
        text='lines = [PINS, b"SET lock_timeout = %d;\\n" % lock_timeout_ms]',
        without="lines = [PINS]",
        test="test_postgres_connect.py::test_the_pins_are_in_force_over_the_settings",
    ),
    Guard(
        name="tries have an end",
        against="a run that never gets its lock disturbs the application for ever",
        module="postgres/patience.py",
        text="if attempt == patience.attempts:",
        without="if False:",
        test="test_postgres_patience.py::test_it_is_not_tried_for_ever",
    ),
    Guard(
        name="ROLLBACK is no answer to COMMIT",
        against="a transaction that has failed is said to be applied",
        module="postgres/commit.py",
        text="if not says_committed(reply):",
        without="if False:",
        test="test_postgres_commit.py::test_a_commit_that_is_answered_by_rollback_is_no_commit",
    ),
    Guard(
        name="the server is asked when the answer to COMMIT is lost",
        against="a file that is applied is said to have failed",
        module="postgres/commit.py",
        text="if not _was_committed(pending, lost):",
        without="if True:",
        test="test_postgres_run.py::"
        "test_a_commit_whose_answer_was_lost_counts_as_applied_and_the_run_goes_on",
    ),
    Guard(
        name="a transaction in progress is no failed one",
        against="a COMMIT that arrives late makes the words about it wrong",
        module="postgres/commit.py",
        text='return False if row == ("aborted",) else None',
        without="return False",
        test="test_postgres_run.py::"
        "test_a_commit_that_lands_while_the_server_is_asked_is_not_called_a_failure",
    ),
    Guard(
        name="only the end of a session is a lost connection",
        against="a file that raises such a code is said to be of unknown outcome",
        module="postgres/translate.py",
        text='error.diag.severity_nonlocalized in ("FATAL", "PANIC")',
        without='(error.diag.sqlstate or "")[:3] in ("57P", "25P")',
        test="test_postgres_run.py::"
        "test_a_file_that_raises_the_code_of_a_lost_session_has_only_failed",
    ),
)

# --- from one file to the next ----------------------------------------------------------------

_UNDONE = (
    "test_postgres_session.py::"
    "test_what_one_file_leaves_is_undone_in_the_session_that_the_next_one_has"
)
_FORGETTING = (
    Guard(
        name="a session is cleaned behind each file",
        against="the search_path of one file is that of the next",
        module="postgres/job.py",
        text="+ self.cleaning +",
        without="+",
        test=_UNDONE,
    ),
    *(
        Guard(
            name=f"{line} is sent behind a file",
            against=against,
            module="postgres/session.py",
            text=f"\n{line};\n",
            without="\n",
            test=_UNDONE,
        )
        for line, against in {
            "RESET ALL": "settings of one file are those of the next",
            "CLOSE ALL": "a cursor that one file holds is met by the next",
            "UNLISTEN *": "the next file's session listens to what it did not ask for",
            "DEALLOCATE ALL": "a prepared statement of one file is met by the next",
            "DISCARD TEMP": "a temporary table stands in the way of the next file's table",
            "DISCARD SEQUENCES": "lastval() of the next file is a number of this one",
            "SELECT pg_catalog.pg_advisory_unlock_all()": "a lock of one file holds others up",
        }.items()
    ),
    Guard(
        name="the seed of random() is another one",
        against="random values of the next file can be foretold, and repeat",
        module="postgres/session.py",
        text="return FORGET + seed + pins(",
        without="return FORGET + pins(",
        test="test_postgres_session.py::test_the_seed_of_one_file_is_not_that_of_the_next",
    ),
    Guard(
        name="what is made in pg_temp is no harmless definition",
        against="a temporary type of one file is met by the next",
        module="files/definitions.py",
        text="""if "pg_temp" in text or 'u&"' in text:""",
        without="if False:",
        test=_UNDONE,
    ),
    Guard(
        name="CREATE TEMP is no harmless definition",
        against="a temporary table of one file is met by the next",
        module="files/definitions.py",
        text='getattr(relation, "relpersistence", "p") != "t"',
        without="True",
        test=_UNDONE,
    ),
    Guard(
        name="behind what nothing undoes there is another session",
        against="a parameter of one's own stays known to the next file",
        module="postgres/session.py",
        text="return migration.transactional and not self.stays",
        without="return migration.transactional",
        test="test_postgres_session.py::"
        "test_behind_what_nothing_undoes_the_next_file_has_another_session",
    ),
)

# --- a file without a transaction -------------------------------------------------------------

_STEPWISE = (
    Guard(
        name="'started' is written before a statement outside of a transaction",
        against="a statement that was cut off runs a second time",
        module="postgres/stepwise.py",
        text="        journal.write_step("
        "self.book, self.job.settings, self.version, number, step)\n",
        without="",
        test="test_postgres_run.py::test_a_statement_whose_end_nobody_saw_is_not_run_again",
    ),
    Guard(
        name="'done' is written in the statement's own transaction",
        against="a statement has run and the journal does not say so",
        module="postgres/stepwise.py",
        text="        after += journal.writing("
        "self.connection, self.job.settings, self.version, number, step)\n"
        "        after += judging(self._is_noted(number))\n",
        without='        after += b"SELECT 1;"\n        after += judging(b"true")\n',
        test="test_postgres_run.py::test_it_stops_at_the_failed_statement_and_goes_on_there",
    ),
    Guard(
        name="the line in the journal must be kept",
        against="a trigger on the journal swallows it, and the statement runs again",
        module="postgres/stepwise.py",
        text=" or not judged.same_transaction or not judged.kept:",
        without=" or not judged.same_transaction:",
        test="test_postgres_journal.py::test_a_statement_whose_line_is_not_kept_is_rolled_back",
    ),
    Guard(
        name="no statement begins when the lock was lost",
        against="two runners build one index",
        module="postgres/stepwise.py",
        text="if not self.session.lock_is_held():\n"
        '            raise self._interrupted(number, "the connection',
        without='if False:\n            raise self._interrupted(number, "the connection',
        test="test_postgres_stepwise.py::test_no_statement_begins_without_the_lock",
    ),
    Guard(
        name="the lock must be held when a statement is committed",
        against="two runners run one statement",
        module="postgres/stepwise.py",
        text="if not self.session.lock_is_held():\n"
        '            raise self._interrupted(number, "the lock was lost")',
        without='if False:\n            raise self._interrupted(number, "the lock was lost")',
        test="test_postgres_stepwise.py::test_a_statement_that_loses_the_lock_is_rolled_back",
    ),
    Guard(
        name="the record of a no-transaction file is judged",
        against="a runner without the lock records what another one is running",
        module="postgres/stepwise.py",
        text="if not (judged.kept and judged.same_transaction and session.lock_is_held()):",
        without="if False:",
        test="test_postgres_stepwise.py::test_a_file_is_not_recorded_without_the_lock",
    ),
    Guard(
        name="what already ran cannot be edited",
        against="the file in version control is not what has run",
        module="postgres/stepwise.py",
        text="elif token_checksum(statements[number - 1].text) != step.tokens:",
        without="elif False:",
        test="test_postgres_run.py::test_an_edit_of_what_already_ran_is_refused",
    ),
    Guard(
        name="what already ran cannot be removed",
        against="the file in version control is not what has run",
        module="postgres/stepwise.py",
        text='raise _edited(version, number, "removed")',
        without="continue",
        test="test_postgres_run.py::test_an_edit_of_what_already_ran_is_refused",
    ),
    Guard(
        name="what was cut off and is done cannot be edited",
        against="another index is recorded than the one that was built",
        module="postgres/stepwise.py",
        text="if found.effect is Effect.DONE and token_checksum(statement.text) != step.tokens:",
        without="if False:",
        test="test_postgres_stepwise.py::test_a_statement_that_was_done_cannot_be_edited",
    ),
    Guard(
        name="an unknown end is told before anything runs",
        against="earlier files run before the run turns out to be stuck",
        module="postgres/stepwise.py",
        text='if step.before is None or step.before.get("kind") == "other":',
        without="if False:",
        test="test_postgres_stepwise.py::"
        "test_an_end_that_nobody_knows_is_told_before_any_other_file_runs",
    ),
    Guard(
        name="what the catalogue cannot tell is not run again",
        against="a statement is run twice, by a guess",
        module="postgres/stepwise.py",
        text="if found.effect is Effect.UNKNOWN:\n            raise self._unknown(number)\n",
        without="if False:\n            raise self._unknown(number)\n",
        test="test_postgres_stepwise.py::test_where_the_catalogue_cannot_tell_nothing_is_run_again",
    ),
    Guard(
        name="the process of a dead runner is outlived",
        against="its statement ends after the catalogue was asked about it",
        module="postgres/stepwise.py",
        text="if row is None or row[0] != since:",
        without="if True:",
        test="test_postgres_stepwise.py::"
        "test_the_process_of_a_dead_runner_is_gone_before_its_statement_is_looked_at",
    ),
    Guard(
        name="only that very process is ended",
        against="a session of the application that has got its number is ended",
        module="postgres/stepwise.py",
        text="if row is None or row[0] != since:",
        without="if row is None:",
        test="test_postgres_stepwise.py::test_a_process_that_only_has_its_number_is_left_alone",
    ),
    Guard(
        name="an invalid left-over is dropped",
        against="the next run finds the name taken by an index that nobody uses",
        module="postgres/stepwise.py",
        text="            said += self._mend(number, found)\n",
        without="",
        test="test_postgres_effects.py::"
        "test_a_failed_build_is_dropped_and_succeeds_when_the_data_are_mended",
    ),
    Guard(
        name="only our own left-over is dropped",
        against="an index that somebody else is mending disappears",
        module="postgres/effects.py",
        text='if row["oid"] not in before["indexes"]',
        without="if True",
        test="test_postgres_effects.py::test_an_invalid_index_of_somebody_else_is_never_dropped",
    ),
    Guard(
        name="a DETACH that was cut off is finished",
        against="a partition stays neither attached nor detached",
        module="postgres/effects.py",
        text="return Found(effect=Effect.DONE, mending=(finalize,))",
        without="return Found(effect=Effect.DONE)",
        test="test_postgres_effects.py::test_a_detach_that_is_interrupted_is_ended",
    ),
    Guard(
        name="no lock_timeout cuts a CONCURRENTLY short",
        against="each try leaves an invalid index",
        module="postgres/concurrently.py",
        text="\"pg_catalog.set_config('lock_timeout', '0', false)\"",
        without="\"pg_catalog.current_setting('lock_timeout')\"",
        test="test_postgres_concurrently.py::"
        "test_no_lock_timeout_cuts_a_build_short_and_it_is_back_afterwards",
    ),
    Guard(
        name="a CONCURRENTLY does not wait for ever",
        against="a forgotten transaction holds up the release, and nobody sees why",
        module="postgres/concurrently.py",
        text="if waits and not self.gave_up and self._waited_s * 1_000 >= self.wait_ms:",
        without="if False:",
        test="test_postgres_concurrently.py::"
        "test_a_build_that_waits_too_long_is_cancelled_and_names_whom_it_waited_for",
    ),
    Guard(
        name="an answer that was lost is noticed",
        against="a build that has ended is awaited for ever",
        module="postgres/watching.py",
        text="elif not look.active and look.since_s >= _SILENT_S:",
        without="elif False:",
        test="test_postgres_watching.py::test_an_answer_that_was_lost_is_noticed",
    ),
    Guard(
        name="a process that is gone is noticed",
        against="a statement whose process has died is awaited for ever",
        module="postgres/watching.py",
        text="if self._failed_looks >= _FAILED_LOOKS:",
        without="if False:",
        test="test_postgres_watching.py::test_a_backend_that_is_gone_is_noticed_at_the_third_look",
    ),
)

# --- undoing, and proving ---------------------------------------------------------------------

_PROVING = (
    Guard(
        name="a rollback where data matter wants the name",
        against="one word on the wrong terminal drops a production table",
        module="postgres/databases.py",
        text="if confirm == name or (not confirm and is_disposable(connection)):",
        without="if True:",
        test="test_postgres_undo.py::test_where_data_matter_the_name_is_wanted",
    ),
    Guard(
        name="an edited migration is not undone",
        against="the down file undoes another migration than the one that ran",
        module="postgres/undo.py",
        text="if entry.migration is None or entry.state not in (State.APPLIED, State.HALF_UNDONE):",
        without="if entry.migration is None:",
        test="test_postgres_undo.py::test_an_edited_migration_is_not_undone",
    ),
    Guard(
        name="nothing is undone below a file that stopped in the middle",
        against="what it did already stands on what is taken away",
        module="postgres/undo.py",
        text="if entry.state is State.HALF_DONE:",
        without="if False:",
        test="test_postgres_undo.py::"
        "test_a_file_that_stopped_in_the_middle_is_ended_before_anything_is_undone",
    ),
    Guard(
        name="a template is closed before it has its name",
        against="a session changes what later runs are told to be the files",
        module="postgres/templates.py",
        text='"ALTER DATABASE {} WITH ALLOW_CONNECTIONS false"',
        without='"ALTER DATABASE {} WITH ALLOW_CONNECTIONS true"',
        test="test_checks_building.py::test_what_was_built_once_is_not_run_again",
    ),
    Guard(
        name="a template is ours, and closed",
        against="a database that somebody else made under its name is taken for the files",
        module="postgres/templates.py",
        text="AND NOT datallowconn\n   AND pg_catalog.pg_get_userbyid(datdba) = CURRENT_USER",
        without="",
        test="test_checks_building.py::test_a_database_that_only_has_the_name_is_no_template",
    ),
    Guard(
        name="what a clone would lose is not kept",
        against="settings and grants of the database are missing in every later rebuild",
        module="postgres/templates.py",
        text="if connection.execute(_IS_COPIED_WHOLE, (name,)).fetchone() != (True,):",
        without="if False:",
        test="test_checks_building.py::test_what_a_clone_would_lose_is_never_cloned",
    ),
    Guard(
        name="what a down file leaves behind is told",
        against="the next migrate fails on a table that is there already",
        module="checks/undoing.py",
        text="        if left:",
        without="        if False:",
        test="test_checks_building.py::test_a_down_file_is_tried_and_what_it_leaves_is_named",
    ),
    Guard(
        name="a fingerprint uses what everybody may read",
        against="a role with few rights calls every schema touched",
        module="schema/fingerprint.py",
        text="column._replace(readable=column.public)",
        without="column._replace(readable=column.readable)",
        test="test_postgres_seal.py::test_a_role_with_few_rights_finds_the_same",
    ),
)

# --- the folder and git -----------------------------------------------------------------------

_FOLDER = (
    Guard(
        name="a new file sorts behind the base as it is now",
        against="it passes here, and migrate refuses it wherever main is deployed",
        module="checks/folder.py",
        text="    if migration.prefix < newest_prefix:",
        without="    if False:",
        test="test_checks_folder.py::test_a_file_is_late_when_the_base_has_gone_on_meanwhile",
    ),
    Guard(
        name="removed is judged by where the branch left the base",
        against="a branch that is behind is told to bring back what it never had",
        module="checks/folder.py",
        text="sorted(base.tip.keys() & base.fork.keys())",
        without="sorted(base.tip.keys())",
        test="test_checks_folder.py::"
        "test_a_branch_that_is_behind_has_neither_edited_nor_removed_anything",
    ),
    Guard(
        name="git is asked about the folder, not about what a hook's environment names",
        against="inside a hook the files of another repository or index are the base",
        module="files/git.py",
        text="if k not in _OF_A_REPOSITORY}",
        without="}",
        test="test_files_git.py::test_what_a_hook_s_environment_names_leads_nowhere_else",
    ),
    Guard(
        name="a shallow clone that does not reach back is refused",
        against="what a branch removed is not found, and nobody is told",
        module="files/git.py",
        text="    if _is_shallow(folder):\n        raise",
        without="    if False:\n        raise",
        test="test_files_git.py::"
        "test_a_shallow_clone_that_does_not_reach_back_is_no_ground_to_judge_on",
    ),
    Guard(
        name="each line of the lock file holds a hash of those above",
        against="two branches that change different files merge without a conflict",
        module="files/lockfile.py",
        text='    line = f"{chain} {version} {checksum}"',
        without='    line = f"{version} {checksum}"',
        test="test_files_lockfile.py::"
        "test_any_two_branches_that_changed_migrations_meet_in_a_conflict",
    ),
    Guard(
        name="a line of the lock file follows from those above",
        against="a merge that took the lines of both sides passes as written by the task",
        module="files/lockfile.py",
        text="        if chain != entry.chain:",
        without="        if False:",
        test="test_files_lockfile.py::"
        "test_an_order_or_hash_that_does_not_follow_is_told_once_at_its_line",
    ),
    Guard(
        name="an applied file gets no other date",
        against="history holds a file that is missing, and a file that runs again",
        module="files/redate.py",
        text="    if version in applied:",
        without="    if False:",
        test="test_files_redate.py::test_an_applied_file_keeps_its_name",
    ),
    Guard(
        name="a new date writes over no file",
        against="renaming replaces what has that name, without a word",
        module="files/redate.py",
        text="        if os.path.lexists(to):",
        without="        if False:",
        test="test_files_redate.py::test_a_name_that_is_taken_is_never_written_over",
    ),
    Guard(
        name="all files of a migration get the new date, or none",
        against="a post-condition is left without its migration",
        module="files/redate.py",
        text="        left = _take_back(done)",
        without="        left = list[str]()",
        test="test_files_redate.py::test_when_one_file_cannot_be_renamed_all_have_their_old_names",
    ),
    Guard(
        name="what git tells a hook is left to the hook that was there",
        against="git-lfs sees no refs, and uploads nothing",
        module="files/hooks.py",
        text='    "$invoke" verify </dev/null',
        without='    "$invoke" verify',
        test="test_files_hooks.py::"
        "test_a_hook_of_somebody_else_is_run_as_before_and_left_as_it_was",
    ),
    Guard(
        name="hooks that other repositories share are left alone",
        against="every push of every repository runs the checks of this project",
        module="files/git.py",
        text="if not any(inside.is_relative_to(each.resolve()) for each in (top, common)):",
        without="if False:",
        test="test_files_git.py::test_a_folder_of_hooks_for_all_repositories_is_left_alone",
    ),
    Guard(
        name="a path that is no migration is refused by headwater-lint",
        against='a mistyped path reads as "nothing found"',
        module="precommit.py",
        text="        _require_part(path)\n",
        without="",
        test="test_precommit.py::test_what_would_be_looked_at_in_vain_is_refused",
    ),
)

# --- asking a production database -------------------------------------------------------------

_ASKING = (
    Guard(
        name="the rows are asked by transactions that only read",
        against="a function of a CHECK that is not what it says writes into production",
        module="checks/preflight.py",
        text="    connection.read_only = True",
        without="    connection.read_only = False",
        test="test_checks_preflight.py::test_a_function_that_says_what_it_is_not_cannot_write",
    ),
    Guard(
        name="what may do more than compute is not called",
        against="a file that nobody has reviewed ends sessions, only by being linted",
        module="checks/preflight.py",
        text="if called := volatile_among(run.lookup.connection, demand.functions):",
        without="if called := ():",
        test="test_checks_preflight.py::test_a_volatile_function_is_not_called",
    ),
    Guard(
        name="a question has an end",
        against="a scan of a large table keeps production busy for as long as it takes",
        module="postgres/asking.py",
        text='b"SET LOCAL statement_timeout = %d;" % patience_ms',
        without='b"SELECT %d;" % patience_ms',
        test="test_checks_preflight.py::test_a_question_that_takes_too_long_is_given_up_and_told",
    ),
    Guard(
        name="rows that are hidden are not taken for rows that are not there",
        against="row security hides the bad rows, and lint says that all is well",
        module="postgres/asking.py",
        text="connection.execute(_local_pins(connection, patience_ms) + _WHOLE)\n            row =",
        without="row =",
        test="test_checks_preflight.py::test_a_role_without_rights_gets_notes",
    ),
    Guard(
        name="the server's words about a value stay on the server",
        against="a value of a row of production stands in a report of CI",
        module="postgres/asking.py",
        text="refused=type(error).__name__",
        without="refused=str(error)",
        test="test_checks_preflight.py::test_no_value_of_a_row_is_told",
    ),
    Guard(
        name="rows that the run itself changes are not asked",
        against="a backfill is refused for the rows that it is there to mend",
        module="checks/preflight.py",
        text="if writer := run.changes.writer(*read):",
        without='if writer := "":',
        test="test_checks_preflight.py::test_what_an_earlier_statement_writes_is_a_note",
    ),
    Guard(
        name="tables are weighed by pg_catalog alone",
        against="a table or an operator of somebody's schema decides what is large",
        module="postgres/weighing.py",
        text='with translated("weighing the tables"), only_catalog_names(connection):',
        without='with translated("weighing the tables"), connection.transaction():',
        test="test_postgres_weighing.py::test_what_somebody_puts_ahead_in_search_path_is_not_asked",
    ),
)

# --- test databases ---------------------------------------------------------------------------

_TESTING = (
    Guard(
        name="one template although files make roles",
        against="each worker that starts while another one builds builds it once more",
        module="testing/making.py",
        text="keys = self._keys(connection, contents)\n                there = longest",
        without="there = longest",
        test="test_testing_making.py::test_who_waited_while_roles_were_made_finds_the_template",
    ),
    Guard(
        name="one process at a time builds a template",
        against="eight workers build it eight times",
        module="testing/making.py",
        text="while not try_lock(connection, lock):",
        without="while False:",
        test="test_testing_making.py::test_many_that_start_at_once_build_one_template",
    ),
    Guard(
        name="files that fail are not run for each test",
        against="a thousand tests wait for a thousand failures",
        module="testing/making.py",
        text="                self._failures[contents] = error\n",
        without="",
        test="test_testing_making.py::test_files_that_fail_are_told_and_not_run_for_each_test",
    ),
    Guard(
        name="files that reach beyond their database build no template",
        against="a test changes the server that others use",
        module="testing/making.py",
        text="        self._refuse_escapes()\n",
        without="",
        test="test_testing_making.py::test_files_that_fail_are_told_and_not_run_for_each_test",
    ),
    Guard(
        name="a database that could not be filled is dropped",
        against="each failing test leaves one",
        module="testing/making.py",
        text="                self.drop(name)\n",
        without="                pass\n",
        test="test_testing_making.py::test_a_database_that_cannot_be_filled_is_dropped",
    ),
    Guard(
        name="a forked child leaves its parent's session alone",
        against="the end of the child ends the parent's connection",
        module="testing/making.py",
        text="os.register_at_fork(after_in_child=_disown_all)",
        without="",
        test="test_testing_supply.py::test_a_forked_child_leaves_all_to_its_parent",
    ),
    Guard(
        name="what is made while the supply is closed is dropped",
        against="each run leaves a database",
        module="testing/supply.py",
        text="elif self._closed.is_set():",
        without="elif False:",
        test="test_testing_supply.py::test_nothing_is_left_however_early_it_is_closed",
    ),
    Guard(
        name="only what Headwater named is swept",
        against="somebody's own database is dropped, for its name begins alike",
        module="testing/sweeping.py",
        text="maker is None or _is_at_work",
        without="maker is not None and _is_at_work",
        test="test_testing_sweeping.py::test_what_is_somebodys_or_nobody_knows_whose_stays",
    ),
    Guard(
        name="what another machine works on is not swept",
        against="two machines on one server drop each other's databases",
        module="testing/sweeping.py",
        text="else str(maker) in at_work",
        without="else False",
        test="test_testing_sweeping.py::test_of_another_machine_what_goes_is_what_nobody_works_on",
    ),
    Guard(
        name="a killed run makes no database after the sweep",
        against="the server goes on with what it was asked for, and it is left",
        module="testing/sweeping.py",
        text="            _end_the_makers(connection)\n",
        without="",
        test="test_testing_sweeping.py::test_a_killed_run_makes_no_database_after_the_sweep",
    ),
    Guard(
        name="what cannot be dropped stops no sweep",
        against="one stuck database fails every run of the tests",
        module="testing/sweeping.py",
        text="except (psycopg.Error, TargetError, LockBusy):",
        without="except psycopg.Error:",
        test="test_testing_sweeping.py::test_what_the_server_refuses_to_drop_stops_nobody",
    ),
    Guard(
        name="only a test database is handed back",
        against="db.drop drops whatever is named",
        module="testing/lending.py",
        text='        raise UnsafeTarget(\n            f"{name!r} is no test database',
        without='        UnsafeTarget(\n            f"{name!r} is no test database',
        test="test_testing_lending.py::test_nothing_else_is_dropped",
    ),
    Guard(
        name="the tests' server is never that of DATABASE_URL",
        against="tests run where the application's data are",
        module="testing/servers.py",
        text="    if settings.test:\n        return target_of(settings.test)",
        without="    if settings.database:\n        return target_of(settings.database)",
        test="test_testing_use.py::test_the_private_server_is_used_unless_another_one_is_named",
    ),
    Guard(
        name="what is made ahead goes before a worker is finished",
        against="xdist interrupts a worker that cleans up later, and databases are left",
        module="pytest_plugin.py",
        text="        run.supply.close()\n",
        without="        pass\n",
        test="test_pytest_plugin.py::test_every_fixture_gives_what_it_says",
    ),
    Guard(
        name="a transaction that a test has ended costs it its database",
        against="the next tests see what it has committed",
        module="pytest_plugin.py",
        text="        _end_shared(run, supply, lease)\n        raise pytest.fail",
        without="        raise pytest.fail",
        test="test_pytest_plugin.py::test_who_commits_by_a_statement_costs_its_database",
    ),
    Guard(
        name="a thread beside tests hides nothing from them",
        against="a variable that a test sets and undoes meanwhile stays set for all others",
        module="testing/supply.py",
        text="        hide_nothing_here()\n",
        without="",
        test="test_testing_supply.py::test_nothing_is_hidden_from_the_process_by_a_thread",
    ),
    Guard(
        name="a kept database has no session of ours in it",
        against="evidence that cannot be swept, because somebody is connected",
        module="testing/supply.py",
        text="        self.leave(database)\n        self.cloner.add_note",
        without="        self.cloner.add_note",
        test="test_testing_supply.py::test_what_is_kept_has_no_session_of_ours_in_it",
    ),
    Guard(
        name="a connection is not older than what fixtures set of its database",
        against="a test passes alone and fails in company",
        module="pytest_plugin.py",
        text="not _may_connect_ahead(request.node)",
        without='"connection" not in request.fixturenames',
        test="test_pytest_plugin.py::"
        "test_a_connection_begins_behind_the_fixtures_that_have_its_database",
    ),
    Guard(
        name="a mark that puts rows nowhere fails the test",
        against="a test that wants rows finds none, and says so in words of its own, or passes",
        module="pytest_plugin.py",
        text='if _is_ours(item, "session_database"):',
        without="if False:",
        test="test_pytest_plugin.py::test_a_mark_that_puts_rows_nowhere_fails_the_test",
    ),
    Guard(
        name="of all that was kept the newest stay",
        against="a day of failing runs fills the disk",
        module="testing/sweeping.py",
        text="[_MOST_EVIDENCE:]",
        without="[len(kept) :]",
        test="test_testing_sweeping.py::test_of_all_that_was_kept_the_newest_stay",
    ),
    Guard(
        name="what a thread could not drop is dropped at the end",
        against="all databases of a run stay until the next one",
        module="testing/supply.py",
        text="                self._left.append(name)\n",
        without="",
        test="test_testing_supply.py::test_what_a_thread_may_not_drop_is_dropped_at_the_end",
    ),
    Guard(
        name="what is not copied with a database makes no template of it",
        against="the first database has a limit of connections, and its clones have none",
        module="postgres/templates.py",
        text=" AND d.datconnlimit = -1\n",
        without="\n",
        test="test_testing_making.py::"
        "test_what_is_not_copied_with_a_database_makes_no_template_of_it",
    ),
)

# --- seeds ------------------------------------------------------------------------------------

_SEEDING = (
    Guard(
        name="a seed writes rows, and nothing else",
        against="a table is made by a seed: no migration knows it, and production lacks it",
        module="files/seed_refusals.py",
        text="return kind in _WRITES_ROWS",
        without="return True",
        test="test_files_seed_refusals.py::"
        "test_what_is_no_work_for_a_seed_is_refused_with_its_line",
    ),
    Guard(
        name="what a Python seed was read as is what it runs as",
        against="the rows of a template are not those that its checksum stands for",
        module="files/seed_modules.py",
        text='return compile(self.texts[fullname], self.files[fullname], "exec"',
        without='return compile(self.files[fullname].read_text(), self.files[fullname], "exec"',
        test="test_files_seed_modules.py::test_what_was_read_is_what_runs",
    ),
    Guard(
        name="only a disposable database is seeded",
        against="the rows of a demo stand among those of production",
        module="postgres/seeding.py",
        text="        if is_disposable(connection):",
        without="        if True:",
        test="test_postgres_seeding.py::test_a_database_that_is_not_disposable_is_not_seeded",
    ),
    Guard(
        name="a Python seed cannot commit by its connection",
        against="a reset that fails behind it has dropped yesterday's rows",
        module="postgres/lent_connection.py",
        text='raise NotYours("it does not commit: Headwater does, when every seed has run")',
        without="psycopg.Connection.commit(self)",
        test="test_postgres_lent_connection.py::test_what_would_end_the_transaction_is_refused",
    ),
    Guard(
        name="a Python seed cannot commit by a statement",
        against="a reset that fails behind it has dropped yesterday's rows",
        module="postgres/seeding.py",
        text='b"SAVEPOINT %s;\\n" % name + no_commit(name)',
        without='b"SAVEPOINT %s;\\n" % name',
        test="test_postgres_reset.py::test_a_python_seed_that_commits_leaves_yesterday",
    ),
    Guard(
        name="a seed ends in the transaction in which it began",
        against="one that rolls back and begins anew throws away the seeds before it, unnoticed",
        module="postgres/seeding.py",
        text="reply = send(connection, check_what_is_deferred(name) + forget)",
        without="reply = send(connection, forget)",
        test="test_postgres_seeding.py::"
        "test_a_python_seed_that_does_what_it_must_not_leaves_no_row",
    ),
    Guard(
        name="what a seed leaves open is closed before anything is sent",
        against="the run waits for data of a COPY that nobody sends",
        module="postgres/seeding.py",
        text="if status == pq.TransactionStatus.INTRANS and not busy:",
        without="if status == pq.TransactionStatus.INTRANS:",
        test="test_postgres_seeding.py::"
        "test_a_python_seed_that_does_what_it_must_not_leaves_no_row",
    ),
    Guard(
        name="a seed meets nothing that an earlier one has left",
        against="a search_path of one seed leads the next one to another table",
        module="postgres/seeding.py",
        text="text + check_what_is_deferred(name) + forget",
        without="text + check_what_is_deferred(name)",
        test="test_postgres_seeding.py::test_a_seed_meets_nothing_that_an_earlier_one_has_left",
    ),
    Guard(
        name="what a seed prints is no output of the task",
        against="--json prints something else than one object",
        module="postgres/seeding.py",
        text="            _printing_to_stderr(),\n",
        without="",
        test="test_postgres_seeding.py::test_what_a_python_seed_prints_is_no_output_of_the_task",
    ),
    Guard(
        name="what programs print that a seed starts is no output of the task",
        against="a script reads a URL with a line of theirs above it",
        module="postgres/seeding.py",
        text="            os.dup2(2, 1)\n",
        without="",
        test="test_postgres_seeding.py::test_what_a_python_seed_prints_is_no_output_of_the_task",
    ),
    Guard(
        name="a row that does not fit is no reason for another transaction",
        against="a typing error in a seed makes reset rehearse everything, and tell another error",
        module="postgres/reset.py",
        text="isinstance(error, SeedFailed) and isinstance(cause, psycopg.IntegrityError)",
        without="False",
        test="test_postgres_reset.py::test_a_broken_seed_leaves_yesterday",
    ),
    Guard(
        name="seeds are rehearsed where a reset cannot be undone",
        against="the schema is dropped and rebuilt, and then there are no rows",
        module="postgres/reset.py",
        text="            self._rehearse_seeds(scratch)\n",
        without="",
        test="test_postgres_reset.py::test_where_one_transaction_cannot_do_the_seeds_are_rehearsed",
    ),
    Guard(
        name="seeds are run a second time",
        against="a seed that may not run again is found on the laptop of somebody else",
        module="checks/reseeding.py",
        text="return tuple(_second_run(connection, ready, settings)), after",
        without="return (), after",
        test="test_checks_reseeding.py::"
        "test_a_seed_that_changes_rows_again_is_told_with_table_and_count",
    ),
    Guard(
        name="a seed that defines something in a block is found",
        against="a table is made by a seed: no migration knows it, and production lacks it",
        module="checks/reseeding.py",
        text="if after is not None and (defined := _differences(before, after)):",
        without='if (defined := ""):',
        test="test_checks_reseeding.py::test_a_seed_that_changes_the_schema_is_told",
    ),
    Guard(
        name="a template of seeds follows from the roles that they name",
        against="rows that depend on a role are those of before it was made",
        module="postgres/templates.py",
        text="    return _named(text, roles, members, ())\n",
        without="    return []\n",
        test="test_testing_making.py::"
        "test_a_role_that_a_seed_names_is_a_part_of_what_its_template_is",
    ),
)

# --- being the application in a test ----------------------------------------------------------

_ACTING = (
    Guard(
        name="a role that row security does not bind is no application",
        against="a test of isolation passes as it would without any policy",
        module="testing/context.py",
        text="    if bypasses or owned:",
        without="    if False:",
        test="test_testing_context.py::test_a_role_that_row_security_does_not_bind_is_refused",
    ),
    Guard(
        name="on an idle connection the application is the session, not a transaction",
        against="a rollback brings the owner's rights back in the middle of the block",
        module="testing/context.py",
        text="    connection.autocommit = True\n",
        without="",
        test="test_testing_context.py::"
        "test_on_an_idle_connection_the_block_may_commit_and_roll_back",
    ),
    Guard(
        name="a block that was left under another role is an error",
        against="what ran as the owner is taken for what the application may do",
        module="testing/context.py",
        text='    if found["role"] != block.role:',
        without="    if False:",
        test="test_testing_context.py::test_a_block_that_is_left_under_another_role_is_an_error",
    ),
    Guard(
        name="the transaction of a block is the one in which it began",
        against="an inner block goes on with the organization of the outer one",
        module="testing/context.py",
        text="        if found[_MARK] != block.mark:",
        without="        if False:",
        test="test_testing_context.py::"
        "test_an_inner_block_of_the_same_role_notices_the_end_of_its_transaction",
    ),
    Guard(
        name="a block has nothing of the context around it",
        against="a test that forgets the project has that of an outer block or of a SET before",
        module="testing/context.py",
        text='{**dict.fromkeys(self.read, ""), **self.values}',
        without="self.values",
        test="test_testing_context.py::test_what_was_set_before_is_there_again",
    ),
    Guard(
        name="a context that is missing is told",
        against="an assertion that nothing is there holds because nothing can be seen",
        module="testing/context.py",
        text="block.tell_once if block.forgotten else None",
        without="None",
        test="test_testing_context.py::"
        "test_a_statement_that_finds_nothing_without_a_context_is_told_why",
    ),
    Guard(
        name="a statement that failed is rolled back with its block",
        against="the role of the application stays behind, in a transaction nobody can use",
        module="testing/context.py",
        text="            raise psycopg.Rollback(transaction)",
        without="            return",
        test="test_testing_context.py::test_a_block_whose_statement_failed_puts_back_as_well",
    ),
    Guard(
        name="a row that row security takes is not told as refused",
        against="a test that expects the refusal passes on a policy that lets everybody write",
        module="testing/rows.py",
        text="if of_a_policy and _is_taken(",
        without="if False and _is_taken(",
        test="test_testing_rows.py::test_a_row_that_is_taken_and_not_shown_is_not_refused",
    ),
    Guard(
        name="a rollback in a block is that of the transaction around it",
        against="the transaction that was to be rolled back is committed",
        module="testing/context.py",
        text="    if rollback:\n        raise rollback\n",
        without="",
        test="test_testing_context.py::"
        "test_a_rollback_in_a_block_is_that_of_the_transaction_around_it",
    ),
    Guard(
        name="a form of settings that no policy asks for is told",
        against="all rows are hidden, and a test that finds none passes",
        module="testing/context.py",
        text="bool(read) or _has_policies(connection)",
        without="bool(read)",
        test="test_testing_context.py::"
        "test_a_form_that_nothing_reads_is_told_with_where_to_name_it",
    ),
)

GUARDS = (
    *_READING,
    *_PLANNING,
    *_CONNECTING,
    *_TRANSACTIONAL,
    *_FORGETTING,
    *_STEPWISE,
    *_PROVING,
    *_FOLDER,
    *_ASKING,
    *_TESTING,
    *_SEEDING,
    *_ACTING,
)
