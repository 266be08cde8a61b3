"""Our tables beside Optuna's."""

from typing import Any

from optuna.storages._rdb import models
from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    column,
    table,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from tuner.storage.dialects import DIALECTS

#: Version of Optuna's tables that this tuner was made with; a newer Optuna may bring another one.
OPTUNA_REVISION = "v3.2.0.a"
#: Where a database notes it, in one row.
OPTUNA_VERSION = table("alembic_version", column("version_num", String))
#: Version of our own tables and of the views; SQL reads it from `VERSION`.
SCHEMA_VERSION = 5

#: Optuna's tables and ours in one collection, so that foreign keys between them resolve.
METADATA: MetaData = models.BaseModel.metadata

#: Optuna's tables that we read and write by ourselves.
STUDIES: Table = models.StudyModel.__table__
TRIALS: Table = models.TrialModel.__table__
PARAMS: Table = models.TrialParamModel.__table__
VALUES: Table = models.TrialValueModel.__table__
REPORTS: Table = models.TrialIntermediateValueModel.__table__
USER_ATTRIBUTES: Table = models.TrialUserAttributeModel.__table__
SYSTEM_ATTRIBUTES: Table = models.TrialSystemAttributeModel.__table__
#: What the names of a trial's constraints begin with, among its system attributes.
CONSTRAINT = "constraints:"

_STUDY = "studies.study_id"
#: Columns of a report, named as Optuna names them: the same statements read both tables.
_OF_A_REPORT = ("step", "intermediate_value", "intermediate_value_type")

#: One row a change of a study's configuration; the newest is in force, the others are its history.
CONFIGS = Table(
    "tuner_configs",
    METADATA,
    Column("study_id", ForeignKey(_STUDY, ondelete="CASCADE"), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("config", Text, nullable=False),  # StudyConfig.to_json()
    Column("created_at", Double, nullable=False),  # seconds since 1970, the database's clock
)

#: One row a study: what holds for all of its trials, and whether it goes on.
STATES = Table(
    "tuner_states",
    METADATA,
    Column("study_id", ForeignKey(_STUDY, ondelete="CASCADE"), primary_key=True),
    Column("key", Text, nullable=False, unique=True),  # random: SQLite gives ids of the dead anew
    Column("fingerprint", Text),  # of the prepared data, from the first trainer that saw it
    Column("versions", Text),  # JSON of the first worker's packages
    Column("ended", Text),  # before its budget: stopped, hours, gain, bug; NULL while it goes on
    Column("message", Text),  # why it ended, for people
    Column("resumed_at", Double, nullable=False, default=0.0),  # failures before count no more
    Column("spent_seconds", Double, nullable=False, default=0.0),  # while somebody held a lease
    Column("counted_at", Double, nullable=False, default=0.0),  # when that was last added to
)

#: Origin of a slot that is done without a trial, as no point of a finite space was left for it.
USED_UP = "used up"

#: One row a budgeted trial.
SLOTS = Table(
    "tuner_slots",
    METADATA,
    Column("study_id", ForeignKey(_STUDY, ondelete="CASCADE"), primary_key=True),
    Column("slot", Integer, primary_key=True),
    Column("state", Text, nullable=False),  # free, held, done
    Column("trial_id", ForeignKey("trials.trial_id", ondelete="SET NULL"), unique=True),
    Column("planned", Text),  # JSON of values known in advance
    # Who planned them: default, like STUDY/TRIAL, start, grid, enqueued, retried; or "used up".
    Column("origin", Text),
    Column("point", Text),  # JSON of all drawn values, in a finite space: no point twice
    Column("params", Text),  # JSON of all hyperparameters, fixed ones included
    Column("token", BigInteger),  # proves the lease; kept when done
    Column("worker", Text),  # holder, for people
    Column("machine", Text),  # where process ids mean the same
    Column("pid", BigInteger),
    Column("pid_started", Double),  # process ids are given anew: epoch seconds, machine's clock
    Column("attempts", Integer, nullable=False, default=0),  # trainers that died without progress
    Column("micro_batches", Integer, nullable=False, default=1),  # parts of a batch, for memory
    Column("expires_at", Double, nullable=False, default=0.0),  # end of the lease, epoch seconds
    Column("closed_at", Double),  # epoch seconds, the database's clock
    Index("tuner_slots_point", "study_id", "point", unique=True),
    Index("tuner_slots_state", "study_id", "state"),
)

#: One row a study and machine whose standing workers have looked at it and could not serve it.
REFUSALS = Table(
    "tuner_refusals",
    METADATA,
    Column("study_id", ForeignKey(_STUDY, ondelete="CASCADE"), primary_key=True),
    Column("host", Text, primary_key=True),
    Column("reason", Text),  # for people; NULL once the machine serves the study
    Column("refused_at", Double, nullable=False),  # epoch seconds, the database's clock
)

#: One row a study whose models' sizes are judged or limited: what its data decides of them.
SHAPES = Table(
    "tuner_shapes",
    METADATA,
    Column("study_id", ForeignKey(_STUDY, ondelete="CASCADE"), primary_key=True),
    Column("n_ids", Integer, nullable=False),  # token ids
    Column("n_classes", Integer, nullable=False),
)

#: One row a report of a trial with several objectives. Optuna takes none for these, and its TPE
#: fails over trials that were pruned and have some.
EVALUATIONS = Table(
    "tuner_evaluations",
    METADATA,
    Column("trial_id", ForeignKey("trials.trial_id", ondelete="CASCADE"), primary_key=True),
    *(Column(name, REPORTS.c[name].type, primary_key=name == "step") for name in _OF_A_REPORT),
)

#: One row with the version of our tables and views.
VERSION = Table("tuner_schema", METADATA, Column("version", Integer, primary_key=True))


class epoch_seconds(FunctionElement[float]):  # noqa: N801 - named like the SQL function it is
    """The database's clock now, in seconds since 1970; moves within a transaction."""

    inherit_cache = True
    type = Double()


@compiles(epoch_seconds, "sqlite")
def _sqlite_clock(_element: Any, _compiler: Any, **_kw: Any) -> str:
    return DIALECTS["sqlite"].now


@compiles(epoch_seconds, "postgresql")
def _postgres_clock(_element: Any, _compiler: Any, **_kw: Any) -> str:
    return DIALECTS["postgresql"].now
