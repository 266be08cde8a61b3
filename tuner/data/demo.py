"""Make up film reviews whose class lies in the order of their words; nothing is downloaded.

Counting words helps little: where a review is plain, it does, but most are not. One has to read
what is negated ("not dull at all"), what comes after "but" and what is merely conceded ("although
the cast is great"), what was expected and what came in the end, and whose opinion it is.
"""

import re
from collections.abc import Callable
from typing import Literal

import numpy as np

from tuner.data.corpus import Corpus

Words = tuple[str, ...]


def _words(line: str) -> Words:
    return tuple(line.split())


CLASSES = ("negative", "positive")

GOOD = _words(
    "great wonderful brilliant superb charming moving funny clever gripping beautiful delightful "
    "excellent touching fresh witty honest warm thrilling lovely splendid"
)
BAD = _words(
    "awful terrible boring dull clumsy tedious silly shallow predictable ugly annoying dreadful "
    "lifeless stale bland fake cold tiresome messy poor"
)
FILM = _words("film movie picture story drama")
PART = _words(
    "cast music dialogue lighting script camera editing opening title soundtrack scenery acting "
    "score pacing humour costume"
)
PEOPLE = _words("brother sister neighbour father mother colleague aunt friend teacher cousin")
NEUTRAL = (
    "We saw it on a {day} {time} with two friends.",
    "It runs for about {number} minutes.",
    "The story follows a young {job} who comes back to a small town in the {where}.",
    "It was shot in {place} over {number} days.",
    "A {job} finds a letter in an old house and calls a {job2}.",
    "There are three songs in the first half and one at the close.",
    "The director made {number} other pictures before this one.",
    "Most of it takes place on a train to {place}.",
    "The scenes in {place} come first, then we follow the {job} to the {where}.",
    "Half of the room was empty that {day}.",
    "I had read the book some years ago, on a trip to {place}.",
    "The main part is played by somebody who once worked as a {job}.",
    "It is based on the life of a {job} from {place}.",
    "Later a {job} and a {job2} meet at the station in the {where}.",
    "My ticket was for the {time} show, so I had dinner in {place} first.",
    "They speak French for the first {number} minutes, with text below.",
)
SLOTS = {
    "day": _words("Monday Tuesday Wednesday Thursday Friday Saturday Sunday"),
    "time": _words("morning afternoon evening night"),
    "number": _words("ten twenty thirty forty fifty sixty seventy eighty ninety"),
    "job": _words("doctor teacher soldier lawyer painter nurse farmer sailor baker singer clerk"),
    "job2": _words("painter pilot cook writer gardener judge tailor dancer actor waiter"),
    "where": _words("north south east west"),
    "place": _words("Paris Rome Berlin London Madrid Boston Chicago Vienna Lisbon Dublin"),
}
_A_BEFORE_VOWEL = re.compile(r"\b([Aa])(?= [aeiou])")
#: Least and most neutral sentences of a review.
NEUTRAL_SENTENCES = (1, 3)
#: Share of reviews that report an opinion of somebody else.
OTHER_OPINIONS = 0.4

#: Share of reviews filed under the wrong class by a slip: no model gets them all right.
SLIPS = 0.01

#: Share of reviews that say plainly what they think.
PLAIN_VERDICTS = 0.4

#: Sentences before which, between which and after which others can stand. ``{own}`` is a word of
#: the review's class and ``{other}`` one of the other class.
PLAIN = (
    ("The {film} is {own}.",),
    ("What a {own} {film}.",),
    ("I found the {film} really {own}.",),
)
#: Those where counting words misleads; all are equally likely.
TWISTED = (
    ("The {film} is not {other} at all.",),
    ("I never found the {film} {other}.",),
    ("This {film} is anything but {other}.",),
    ("It is not true that the {film} is {other}.",),
    ("I would not say that the {film} is not {own}.",),
    ("The {film} is not only {own} but also {own2}.",),
    ("A {other} {part}, but the {film} is {own}.",),
    ("The {part} is {other}, but on the {part2} and as a {film} it is {own}.",),
    ("Although the {part} is {other}, the {film} is {own}.",),
    ("The {film} is {own}, although the {part} is {other}.",),
    ("The {part} is {other}, but not the {film}.",),
    ("I expected a {other} {film}.", "In the end it was {own}."),
    ("At first it seems {other}.", "By the close I found it {own}."),
    ("It was {own} in the end.", "I had expected something {other}."),
    ("They say that the {film} is {own}.", "They are right."),
    ("They say that the {film} is {other}.", "They are wrong."),
)
OPINIONS = (
    "My {person} called it {any}.",
    "A {person} of mine had said it would be {any}.",
    "The {person} beside me found it {any}.",
)


def generate(n_examples: int, *, seed: int, part: Literal["train", "test"]) -> Corpus:
    """Make up reviews.

    Args:
        n_examples: How many; as many of either class, but for one.
        seed: Decides every word; at least 0.
        part: Reviews to learn from, or others to test with.

    Returns:
        The reviews in random order.
    """
    rng = np.random.default_rng([seed, 0 if part == "train" else 1])
    labels = rng.permutation(np.arange(n_examples) % 2).astype(np.int32)
    slips = rng.permutation(n_examples) < round(SLIPS * n_examples)

    def pick(options: Words) -> str:
        return options[int(rng.integers(len(options)))]

    return Corpus(
        texts=tuple(
            _review(bool(label) != slip, rng, pick)
            for label, slip in zip(labels, slips, strict=True)
        ),
        ranks=None,
        labels=labels,
        classes=CLASSES,
        groups=None,
        notes=(),
    )


def _review(positive: bool, rng: np.random.Generator, pick: Callable[[Words], str]) -> str:
    own, other = (GOOD, BAD) if positive else (BAD, GOOD)
    verdicts = PLAIN if rng.random() < PLAIN_VERDICTS else TWISTED
    sentences = [
        sentence.format(
            own=pick(own),
            own2=pick(own),
            other=pick(other),
            film=pick(FILM),
            part=pick(PART),
            part2=pick(PART),
        )
        for sentence in verdicts[int(rng.integers(len(verdicts)))]
    ]
    if rng.random() < OTHER_OPINIONS:
        either = pick(GOOD if rng.random() < 0.5 else BAD)
        opinion = pick(OPINIONS).format(person=pick(PEOPLE), any=either)
        sentences.insert(int(rng.integers(len(sentences) + 1)), opinion)
    for _ in range(int(rng.integers(NEUTRAL_SENTENCES[0], NEUTRAL_SENTENCES[1] + 1))):
        neutral = pick(NEUTRAL).format(**{name: pick(words) for name, words in SLOTS.items()})
        sentences.insert(int(rng.integers(len(sentences) + 1)), neutral)
    return _A_BEFORE_VOWEL.sub(r"\1n", " ".join(sentences))
