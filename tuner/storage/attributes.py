"""Notes about a study among Optuna's attributes of it: they go where the study goes."""

from optuna.storages._rdb import models
from sqlalchemy import select, update
from sqlalchemy.orm import Session

_Attribute = models.StudyUserAttributeModel
#: What a note holds that was removed.
_NOTHING = "null"


def read_note(session: Session, study_id: int, key: str) -> str | None:
    """Read a note, as JSON; None where there is none.

    Args:
        session: An open transaction.
        study_id: Optuna's id of the study.
        key: Name of the note.
    """
    text: str | None = session.scalar(
        select(_Attribute.value_json).where(_Attribute.study_id == study_id, _Attribute.key == key)
    )
    return None if text == _NOTHING else text


def write_note(session: Session, study_id: int, key: str, text: str) -> None:
    """Write a note over what is there; lock the study before.

    Args:
        session: An open transaction.
        study_id: Optuna's id of the study.
        key: Name of the note.
        text: JSON.
    """
    found = session.scalar(
        select(_Attribute).where(_Attribute.study_id == study_id, _Attribute.key == key)
    )
    if found is None:
        session.add(_Attribute(study_id=study_id, key=key, value_json=text))
    else:
        found.value_json = text


def remove_note(session: Session, study_id: int, key: str) -> None:
    """Remove a note, where there is one; lock the study before.

    Args:
        session: An open transaction.
        study_id: Optuna's id of the study.
        key: Name of the note.
    """
    # Who steers a study may not delete rows.
    session.execute(
        update(_Attribute)
        .where(_Attribute.study_id == study_id, _Attribute.key == key)
        .values(value_json=_NOTHING)
    )
