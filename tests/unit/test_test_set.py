"""The test set is read for the final evaluation and for nothing else."""

import ast
from pathlib import Path

import tuner

ROOT = Path(tuner.__file__).parent
#: What reads test examples, what judges by them, and where the one is defined or handed on.
READER, JUDGE = "read_test", "judge_by_test_set"
ITS_ROOM = {"data/sources.py", "data/__init__.py"}


def names_in(path: Path) -> set[str]:
    """Name all that a module imports, calls or looks up."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.ImportFrom(names=aliases) | ast.Import(names=aliases):
                found |= {alias.name for alias in aliases}
            case ast.Name(id=name) | ast.Attribute(attr=name):
                found.add(name)
            case ast.Constant(value=str() as text):
                found.add(text)
    return found


def test_only_refit_reads_test_examples() -> None:
    modules = {path.relative_to(ROOT).as_posix(): path for path in ROOT.rglob("*.py")}

    readers = {name for name, path in modules.items() if READER in names_in(path)}
    judges = {name for name, path in modules.items() if JUDGE in names_in(path)}

    assert readers - ITS_ROOM == {"deliver/test_set.py"}
    assert judges - {"deliver/test_set.py"} == {"deliver/refit.py"}
