"""The page itself: sections of plots and tables, put into the template."""

import functools
import itertools
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jinja2
from plotly.offline import get_plotlyjs

from tuner import __version__
from tuner.config import differences
from tuner.judging.hits import HITS
from tuner.report import words
from tuner.report.course import curves_plot, history_plot, improvements
from tuner.report.front import front_plots
from tuner.report.material import Material, read_material
from tuner.report.parallel import parallel_plot
from tuner.report.params import importance_plot, slices
from tuner.report.plot import Plot
from tuner.report.reasons import count_reasons
from tuner.report.summary import summary
from tuner.report.toml import study_file_text
from tuner.report.work import MAX_WORKERS, shifts_of, spent_by_kind, time_plot, timeline_plot
from tuner.storage import Database, StoredStudy
from tuner.study_file import study_file_lines

#: Facts about the best trial that have a place of their own, or are for programs.
_ELSEWHERE = {"versions", "traceback", "failed_at", HITS}
#: Steps of the best so far in the table: the first and the last ones.
_N_IMPROVEMENTS = 20


@dataclass(frozen=True, kw_only=True)
class Change:
    """What was changed of a study while it was stored."""

    #: When, for people.
    when: str
    #: Each as ``key: old -> new``.
    lines: tuple[str, ...]


def render(database: Database, study: StoredStudy) -> str:
    """Make one HTML page about a study, which needs no network and no other file.

    Args:
        database: Where the study is.
        study: The study, whatever its state: without any trial, running, over.

    Returns:
        HTML, about 5 MB: Plotly is in it, once.
    """
    material = read_material(database, study)
    shifts = shifts_of(material)
    spent = spent_by_kind(material, shifts)
    found = material.importances
    by_parameter = slices(material)
    plots = {
        "history": history_plot(material),
        "curves": curves_plot(material),
        "importance": importance_plot(found) if found else None,
        "parallel": parallel_plot(material),
        "time": time_plot(spent),
        "timeline": timeline_plot(material, shifts),
    }
    fronts = front_plots(material)
    drawn = [plot for plot in plots.values() if plot] + [each.plot for each in by_parameter]
    drawn += fronts
    best_lines = study_file_lines(study.config, material.best[0].params) if material.best else ""
    page: str = (
        _environment()
        .get_template("page.html")
        .render(
            material=material,
            words=words,
            plots=plots,
            slices=by_parameter,
            fronts=fronts,
            summary=summary(material, shifts),
            best_lines=best_lines,
            best_facts=_facts(material.best_facts),
            improvements=_ends(improvements(material), _N_IMPROVEMENTS),
            spent=spent,
            whole_seconds=sum(part.seconds for part in spent),
            shifts=shifts[:MAX_WORKERS],
            n_shifts=len(shifts),
            reasons=count_reasons(material),
            study_file=study_file_text(study.config),
            changes=_changes(material),
            versions=_versions(material),
            version=__version__,
            figures=_as_script([(plot.id, plot) for plot in drawn]),
            plotly=get_plotlyjs(),
        )
    )
    return page


@functools.cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("tuner.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _as_script(plots: Sequence[tuple[str, Plot]]) -> str:
    """Write figures as JSON that ends no script element, whatever is in it."""
    figures = {name: plot.figure for name, plot in plots}
    text = json.dumps(figures, separators=(",", ":"), allow_nan=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _facts(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Write facts about a trial for people."""
    return [
        (name, fact if isinstance(fact, str) else json.dumps(fact))
        for name, fact in facts.items()
        if name not in _ELSEWHERE
    ]


def _ends(rows: Sequence[Any], n_wanted: int) -> list[Any]:
    """Take the first and the last rows, with None for those between."""
    if len(rows) <= n_wanted:
        return list(rows)
    half = n_wanted // 2
    return [*rows[:half], None, *rows[-half:]]


def _changes(material: Material) -> tuple[Change, ...]:
    """Say what was changed of the configuration, and when."""
    versions = material.record.configurations
    return tuple(
        Change(
            when=words.moment(new.since),
            lines=tuple(line for lines in differences(old.config, new.config) for line in lines),
        )
        for old, new in itertools.pairwise(versions)
    )


def _versions(material: Material) -> list[tuple[str, int]]:
    """Count the trials by the versions that they ran with."""
    told = Counter(
        str(fact["versions"]) for fact in material.facts.values() if fact.get("versions")
    )
    return told.most_common()
