"""A stored configuration as the study file that would make it."""

import json
from collections.abc import Mapping

from tuner.config import StudyConfig


def study_file_text(config: StudyConfig) -> str:
    """Write a study file with every default spelled out.

    Args:
        config: The study.

    Returns:
        TOML text, from which `tuner.study_file.load_study_file` makes the same study, or of one
        that confirms another the search that it is made like.
    """
    ours = {"folder", "confirms"}  # no keys of a file
    tables = config.model_dump(mode="json", exclude=ours, exclude_none=True)
    if "metrics" in tables:
        del tables["metric"]  # it is the first of them
    if not tables["constraints"]:
        del tables["constraints"]
    plain = {key: value for key, value in tables.items() if not isinstance(value, dict)}
    lines = [f"{key} = {_value(value)}" for key, value in plain.items()]
    for name, table in tables.items():
        if name not in plain:
            lines += ["", f"[{name}]", *(f"{key} = {_value(v)}" for key, v in table.items())]
    return "\n".join(lines)


def _value(value: object) -> str:
    match value:
        case Mapping():
            inner = ", ".join(f"{key} = {_value(v)}" for key, v in value.items())
            return f"{{ {inner} }}"
        case list():
            return f"[{', '.join(map(_value, value))}]"
        case _:
            # TOML's strings are JSON's, but for the one control character that JSON lets pass.
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
