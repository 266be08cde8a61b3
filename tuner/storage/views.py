# ruff: noqa: S608 - SQL is put together from our own pieces, never from a value
"""Views that people and programs may ask in SQL: the same columns and rows on both databases.

They are an interface. Within one `tuner.storage.schema.SCHEMA_VERSION`, which SQL reads as
``SELECT version FROM tuner_schema``, no column changes its name, type or meaning. Optuna's tables
and ours below them may change with any version.

Common to all: ``study`` is a study's name and ``trial`` a trial's number in it, which together name
a trial. ``*_utc`` is a time in UTC without a time zone; text on SQLite. A number that is not finite
is NULL, and the column beside it, ``*_kind``, says which: ``finite``, ``nan``, ``+inf``, ``-inf``.
True and false are 1 and 0 on SQLite. Studies that tuner did not make have NULL where they lack
something. A filter on ``study`` reaches the tables' indexes.

Optuna's own migrations may change tables only while no view reads them: before ``optuna storage
upgrade``, drop the views; the next ``tuner create`` makes them again.
"""

from sqlalchemy import Connection, inspect, text

from tuner.storage.dialects import DIALECTS, Dialect
from tuner.storage.view_pieces import REPORT_TABLES, STATE, feasible, kind, objective_name

#: Seconds between a worker's sign of life and the end of the lease that it gets by it.
LEASE_SECONDS = 60.0


def create_views(connection: Connection) -> None:
    """Create the views that are missing; for the holder of the lock over schema changes.

    One that is there stays as it is: replacing it would stop everybody who reads it, for nothing,
    because views change only with the version of the schema.
    """
    there = set(inspect(connection).get_view_names())
    for name, query in queries(DIALECTS[connection.dialect.name]).items():
        if name not in there:
            connection.execute(text(f"CREATE VIEW {name} AS {query}"))


def queries(dialect: Dialect) -> dict[str, str]:
    """Write the views: name to query."""
    return {
        "tuner_studies": _studies(dialect),
        "tuner_trials": _trials(dialect),
        "tuner_values": _values(dialect),
        "tuner_params": _params(dialect),
        "tuner_reports": _reports(),
        "tuner_workers": _workers(dialect),
    }


def _studies(dialect: Dialect) -> str:
    """One row a study.

    The rule of the best trial is that of `tuner.results.best_trials`; a study with several
    objectives has none. Trials without a slot are not counted in a study of tuner's.
    """
    return f"""
SELECT
    c.study,
    -- of several objectives all, as in "val_accuracy, bytes" ...
    (   SELECT {dialect.joined("o.name")} FROM (
            SELECT {objective_name(dialect)} AS name
            FROM study_directions d JOIN tuner_configs v ON v.study_id = d.study_id
            WHERE d.study_id = c.study_id AND v.version = 1 ORDER BY d.objective
        ) o
    ) AS metric,
    -- ... and "maximize, minimize"
    (   SELECT {dialect.joined("lower(CAST(o.direction AS text))")} FROM (
            SELECT d.direction FROM study_directions d
            WHERE d.study_id = c.study_id ORDER BY d.objective
        ) o
    ) AS direction,
    -- slots: how many trials the study will have
    CASE WHEN g.study_id IS NOT NULL THEN (
        SELECT count(*) FROM tuner_slots k WHERE k.study_id = c.study_id
    ) END AS budget,
    -- ... and how many of them are over
    CASE WHEN g.study_id IS NOT NULL THEN (
        SELECT count(*) FROM tuner_slots k WHERE k.study_id = c.study_id AND k.state = 'done'
    ) END AS done,
    c.complete, c.pruned, c.failed, c.running, c.waiting,
    b.number AS best_trial, v.value AS best_value,
    -- stopped, hours, gain or bug, where that came before the end of the budget
    g.ended,
    (   SELECT {dialect.utc("min(v.created_at)")} FROM tuner_configs v
        WHERE v.study_id = c.study_id
    ) AS created_utc
FROM (
    SELECT
        t.study_id, t.study,
        count(CASE WHEN t.state = 'complete' THEN 1 END) AS complete,
        count(CASE WHEN t.state = 'pruned' THEN 1 END) AS pruned,
        count(CASE WHEN t.state = 'failed' THEN 1 END) AS failed,
        count(CASE WHEN t.state = 'running' THEN 1 END) AS running,
        count(CASE WHEN t.state = 'waiting' THEN 1 END) AS waiting
    FROM (
        SELECT
            s.study_id, s.study_name AS study,
            CASE WHEN g.study_id IS NULL OR k.slot IS NOT NULL THEN {STATE} END AS state
        FROM studies s
        LEFT JOIN tuner_states g ON g.study_id = s.study_id
        LEFT JOIN trials t ON t.study_id = s.study_id
        LEFT JOIN tuner_slots k ON k.trial_id = t.trial_id
    ) t
    GROUP BY t.study_id, t.study
) c
LEFT JOIN tuner_states g ON g.study_id = c.study_id
LEFT JOIN trials b ON b.trial_id = (
    SELECT t.trial_id
    FROM trials t
    JOIN trial_values v ON v.trial_id = t.trial_id AND v.objective = 0
    JOIN study_directions d ON d.study_id = t.study_id AND d.objective = 0
    WHERE t.study_id = c.study_id AND t.state = 'COMPLETE' AND v.value_type = 'FINITE'
        AND {feasible(dialect)}
        AND NOT EXISTS (
            SELECT 1 FROM study_directions m WHERE m.study_id = c.study_id AND m.objective > 0
        )
    ORDER BY CASE WHEN d.direction = 'MAXIMIZE' THEN -v.value ELSE v.value END, t.number
    LIMIT 1
)
LEFT JOIN trial_values v ON v.trial_id = b.trial_id AND v.objective = 0
"""


def _trials(dialect: Dialect) -> str:
    """One row a trial."""

    def last(column: str) -> str:
        # By itself, so that only who asks for it pays for it.
        names = "step, intermediate_value, intermediate_value_type"
        both = " UNION ALL ".join(
            f"SELECT {names} FROM {table} r WHERE r.trial_id = t.trial_id"
            for table in REPORT_TABLES
        )
        return f"""(
        SELECT {column} FROM ({both}) r ORDER BY r.step DESC LIMIT 1
    )"""

    return f"""
SELECT
    s.study_name AS study, t.number AS trial,
    -- its place in the budget; NULL for one made by other means, or that was superseded
    k.slot,
    -- running, waiting (open, and nobody is at it), complete, pruned, failed
    {STATE} AS state,
    -- the objective, of several the first; of a pruned trial its last report
    v.value, {kind("v.value_type")} AS value_kind,
    -- violates no constraint
    {feasible(dialect)} AS feasible,
    -- failed, and its slot was given to another trial
    EXISTS (
        SELECT 1 FROM trial_user_attributes a
        WHERE a.trial_id = t.trial_id AND a.key = 'superseded'
    ) AS superseded,
    {last("r.step")} AS last_step, {last("r.intermediate_value")} AS last_value,
    {last(kind("r.intermediate_value_type"))} AS last_value_kind,
    t.datetime_start AS started_utc, t.datetime_complete AS ended_utc,
    -- from the one to the other; NULL until it has ended
    {dialect.seconds_between("t.datetime_start", "t.datetime_complete")} AS seconds,
    -- who holds it or held it last, as host:pid
    k.worker
FROM studies s
JOIN trials t ON t.study_id = s.study_id
LEFT JOIN tuner_slots k ON k.trial_id = t.trial_id
LEFT JOIN trial_values v ON v.trial_id = t.trial_id AND v.objective = 0
"""


def _values(dialect: Dialect) -> str:
    """One row a trial and objective; of one that was pruned what is known without training it."""
    return f"""
SELECT
    s.study_name AS study, t.number AS trial,
    -- from 0
    v.objective,
    -- such as val_accuracy or bytes; NULL in studies of plain Optuna
    (   SELECT {objective_name(dialect)} FROM tuner_configs v
        WHERE v.study_id = s.study_id AND v.version = 1
    ) AS metric,
    lower(CAST(d.direction AS text)) AS direction,
    v.value, {kind("v.value_type")} AS value_kind
FROM studies s
JOIN trials t ON t.study_id = s.study_id
JOIN trial_values v ON v.trial_id = t.trial_id
JOIN study_directions d ON d.study_id = s.study_id AND d.objective = v.objective
"""


def _params(dialect: Dialect) -> str:
    """One row a trial and hyperparameter.

    Of a trial in a slot all of them, fixed ones included; of others those that were drawn, of
    which Optuna stores a number and what it stands for.
    """
    member_kind, member = dialect.member_datum("e")
    choice_kind, choice = dialect.choice_datum(
        "p.distribution_json", "CAST(p.param_value AS bigint)"
    )
    number = "CAST(x.datum AS double precision)"
    return f"""
SELECT
    x.study, x.trial, x.name,
    -- as people write it, such as true, 64, mean, 0.003
    CASE x.kind WHEN 'real' THEN {dialect.shortest(number)} ELSE CAST(x.datum AS text) END AS value,
    -- boolean, integer, real, text; null for Python's None; unknown for a choice of plain Optuna
    -- that is not JSON, such as NaN
    x.kind,
    -- NULL but for integer and real
    CASE WHEN x.kind IN ('integer', 'real') THEN {number} END AS number
FROM (
    SELECT
        s.study_name AS study, t.number AS trial, e.key AS name,
        {member_kind} AS kind, {member} AS datum
    FROM studies s
    JOIN trials t ON t.study_id = s.study_id
    JOIN tuner_slots k ON k.trial_id = t.trial_id
    CROSS JOIN {dialect.members("k.params")} e
    UNION ALL
    SELECT
        s.study_name, t.number, p.param_name,
        CASE WHEN p.domain <> 'choice' THEN p.domain ELSE {choice_kind} END,
        CASE p.domain
            WHEN 'integer' THEN {dialect.number_datum("CAST(p.param_value AS bigint)")}
            WHEN 'real' THEN {dialect.number_datum("p.param_value")}
            WHEN 'choice' THEN {choice}
        END
    FROM studies s
    JOIN trials t ON t.study_id = s.study_id
    JOIN (
        SELECT q.*, CASE
            WHEN q.distribution_json LIKE '{{"name": "Int%' THEN 'integer'
            WHEN q.distribution_json NOT LIKE '{{"name": "Categorical%' THEN 'real'
            -- what Python writes is not always JSON, nor text that Postgres takes
            WHEN q.distribution_json LIKE '%NaN%' OR q.distribution_json LIKE '%Infinity%'
                OR q.distribution_json LIKE '%\\u0000%' ESCAPE '!' THEN 'unknown'
            ELSE 'choice'
        END AS domain
        FROM trial_params q
    ) p ON p.trial_id = t.trial_id
    WHERE NOT EXISTS (SELECT 1 FROM tuner_slots k WHERE k.trial_id = t.trial_id)
) x
"""


def _reports() -> str:
    """One row a report; a step is a quarter of an epoch, in studies of tuner's."""
    return "UNION ALL".join(
        f"""
SELECT
    s.study_name AS study, t.number AS trial,
    r.step, r.intermediate_value AS value, {kind("r.intermediate_value_type")} AS value_kind
FROM studies s
JOIN trials t ON t.study_id = s.study_id
JOIN {table} r ON r.trial_id = t.trial_id
"""
        for table in REPORT_TABLES
    )


def _workers(dialect: Dialect) -> str:
    """One row a study and worker that holds a slot of it, or was the last to."""
    lease_end = "max(CASE WHEN k.state = 'held' THEN k.expires_at END)"
    last_seen = (
        f"max(CASE WHEN k.state = 'held' THEN k.expires_at - {LEASE_SECONDS} ELSE k.closed_at END)"
    )
    return f"""
SELECT
    s.study_name AS study,
    -- as host:pid
    k.worker,
    -- within what a pid means one process
    k.machine, k.pid,
    -- trials that it is at
    count(CASE WHEN k.state = 'held' THEN 1 END) AS held,
    -- trials that it brought to their end
    count(CASE WHEN k.state = 'done' THEN 1 END) AS done,
    -- when it last renewed a lease or ended a trial
    {dialect.utc(last_seen)} AS last_seen_utc,
    -- when others may take over what it holds, unless it gives a sign of life before
    {dialect.utc(lease_end)} AS lease_end_utc,
    -- until then; below 0 where that is over
    {lease_end} - {dialect.now} AS lease_seconds
FROM studies s
JOIN tuner_slots k ON k.study_id = s.study_id
WHERE k.worker IS NOT NULL
GROUP BY s.study_name, k.worker, k.machine, k.pid
"""
