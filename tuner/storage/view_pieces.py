# ruff: noqa: S608 - SQL is put together from our own pieces, never from a value
"""What several views say alike, as pieces of SQL; a trial is `t`, its slot `k`."""

from tuner.storage.dialects import Dialect
from tuner.storage.schema import EVALUATIONS, REPORTS

#: Where reports lie: those of studies with one objective, and of others.
REPORT_TABLES = (REPORTS.name, EVALUATIONS.name)

#: A trial's state as people know it: Optuna does not know whether anybody is at it.
STATE = """CASE
        WHEN t.state = 'WAITING' OR (t.state = 'RUNNING' AND k.state = 'free') THEN 'waiting'
        WHEN t.state = 'FAIL' THEN 'failed'
        ELSE lower(CAST(t.state AS text))
    END"""


def feasible(dialect: Dialect) -> str:
    """Say whether a trial violates no constraint, by the rule of `tuner.results.best_trials`.

    CASE, because only these attributes are numbers for sure; SQLite reads a number out of Infinity
    as 0. A complete trial has to tell by how much it keeps to each of the study's limits, which
    are those of its first configuration, as they never change.
    """
    limits = dialect.members(dialect.member("l.config", "constraints"))
    return f"""(NOT EXISTS (
        SELECT 1 FROM trial_system_attributes a
        WHERE a.trial_id = t.trial_id AND CASE
            WHEN substr(a.key, 1, 12) <> 'constraints:' THEN FALSE
            WHEN a.value_json = 'Infinity' THEN TRUE
            ELSE CAST(a.value_json AS double precision) > 0
        END
    ) AND NOT EXISTS (
        -- the first table, so that studies without limits pay nothing
        SELECT 1 FROM tuner_shapes h CROSS JOIN tuner_configs l CROSS JOIN {limits} e
        WHERE t.state = 'COMPLETE' AND h.study_id = t.study_id AND l.study_id = h.study_id
            AND l.version = 1 AND NOT EXISTS (
                SELECT 1 FROM trial_system_attributes a
                WHERE a.trial_id = t.trial_id AND a.key = 'constraints:' || e.key
            )
    ))"""


def kind(column: str) -> str:
    """Say which kind of number Optuna stored."""
    return f"""CASE CAST({column} AS text)
        WHEN 'FINITE' THEN 'finite'
        WHEN 'INF_POS' THEN '+inf'
        WHEN 'INF_NEG' THEN '-inf'
        WHEN 'NAN' THEN 'nan'
    END"""


def objective_name(dialect: Dialect) -> str:
    """Name the objective of a direction `d`, from any configuration `v`: they never change."""
    several = dialect.element("v.config", "metrics", "d.objective")
    return f"coalesce({several}, {dialect.member('v.config', 'metric')})"
