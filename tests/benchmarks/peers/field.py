"""Who takes part."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.benchmarks.peers.protocol import ARTICLE_VOCABULARY, VOCABULARY, Table

ROOM = "tests.benchmarks.peers"


@dataclass(frozen=True, kw_only=True)
class Contestant:
    """A way to search, in a process of its own."""

    #: On the command line.
    name: str
    #: For people.
    title: str
    #: What Python runs.
    module: str
    #: What it is told before its job.
    words: tuple[str, ...] = ()
    #: Where it takes part.
    tables: tuple[Table, ...] = (1, 2)
    #: Whether it is one of those that we compare with.
    is_peer: bool = True
    #: Words that it tells apart.
    vocabulary: int = VOCABULARY

    def trains_as(self, table: Table) -> Table:
        """Say in which table everyone trains as it does: ours always has `tuner`'s code."""
        return table if self.is_peer else 2


CONTESTANTS = (
    Contestant(
        name="article",
        title="the article's grid",
        module=f"{ROOM}.article",
        vocabulary=ARTICLE_VOCABULARY,
    ),
    Contestant(name="optuna", title="plain Optuna", module=f"{ROOM}.plain_optuna"),
    Contestant(
        name="bayesian",
        title="KerasTuner, Bayesian",
        module=f"{ROOM}.kerastuner",
        words=("bayesian",),
    ),
    Contestant(
        name="hyperband",
        title="KerasTuner, Hyperband",
        module=f"{ROOM}.kerastuner",
        words=("hyperband",),
    ),
    Contestant(name="ray", title="Ray Tune, Optuna + ASHA", module=f"{ROOM}.ray_tune"),
    Contestant(
        name="tuner",
        title="tuner, the peers' space",
        module=f"{ROOM}.ours",
        words=("peers",),
        is_peer=False,
    ),
    Contestant(
        name="tuner-own",
        title="tuner, its own space",
        module=f"{ROOM}.ours",
        words=("own",),
        tables=(1,),
        is_peer=False,
    ),
)


def turns(
    contestants: Sequence[Contestant], tables: Sequence[Table], n_seeds: int
) -> Iterator[tuple[int, Table, Contestant]]:
    """Say who is when: all with one seed, then all with the next one.

    Each time another one is first, as whoever is finds nothing in the machine's caches.
    """
    for seed in range(n_seeds):
        for number, table in enumerate(tables):
            first = (seed * len(tables) + number) % len(contestants)
            for contestant in (*contestants[first:], *contestants[:first]):
                if table in contestant.tables:
                    yield seed, table, contestant
