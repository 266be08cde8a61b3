"""Whether a study goes on with the software that it began with."""

import logging

from tuner.errors import InputError
from tuner.host import versions
from tuner.storage import Database, StoredStudy, other_versions

log = logging.getLogger(__name__)


def compare_versions(database: Database, study: StoredStudy, must_agree: bool) -> None:
    """See whether the study's values were and will be made by the same software; warn if not.

    Args:
        database: Where the study is.
        study: The study.
        must_agree: Whether to refuse to work with another one.

    Raises:
        InputError: It is another one, and that was to be refused.
    """
    others = other_versions(database, study, versions())
    if not others:
        return
    listed = ", ".join(f"{name} {was} -> {here}" for name, (was, here) in others.items())
    if must_agree:
        raise InputError(
            f"Study {study.config.name!r} began with other versions: {listed}. Install those, "
            f"or leave out --same-versions."
        )
    log.warning("The study began with other versions, values may differ: %s", listed)
