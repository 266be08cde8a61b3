"""The arithmetic of explanations, and how they are shown, without any model."""

import html.parser
import json
import math
import re

import numpy as np
import pytest
import scipy.stats

from tuner.attribution import Balance, Explanation, Word, render
from tuner.attribution.integration import (
    MOST_STEPS,
    Integral,
    integrate,
    midpoints,
    tolerance,
)
from tuner.attribution.odds import Floats, Numbers, average, log_odds
from tuner.attribution.ranks import spearman
from tuner.attribution.shades import AGAINST, FOR, INK, colour, shade
from tuner.attribution.spelling import Spelling, spellings
from tuner.attribution.tally import Tally
from tuner.attribution.views import views_of
from tuner.cli.explained import as_json, coloured, print_explanation
from tuner.data.text import tokenize, word_spans

# --- log-odds ------------------------------------------------------------------------------------


def test_log_odds_are_those_of_the_probability() -> None:
    logits = np.array([[1.0, -2.0, 0.5], [0.0, 0.0, 3.0]])
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)

    found = log_odds(logits, np.array([0, 2]))

    assert found == pytest.approx(
        [math.log(p[0, 0] / (1 - p[0, 0])), math.log(p[1, 2] / (1 - p[1, 2]))]
    )


def test_log_odds_keep_their_digits_where_a_probability_is_1() -> None:
    logits = np.array([[40.0, -40.0], [500.0, -500.0]])

    assert log_odds(logits, np.array([0, 0])).tolist() == [80.0, 1000.0]
    together, derivatives = average(log_odds(logits, np.array([0, 0]))[None])
    assert together.tolist() == [80.0, 1000.0]
    assert derivatives == pytest.approx(1.0)


def test_models_together_have_the_log_odds_of_their_mean_probability() -> None:
    each = np.array([[2.0, -1.0], [-0.5, 3.0], [8.0, 0.0]])
    mean = (1 / (1 + np.exp(-each))).mean(axis=0)

    together, derivatives = average(each)

    assert together == pytest.approx(np.log(mean / (1 - mean)))
    for k in range(3):
        step = np.zeros_like(each)
        step[k] = 1e-6
        slope = (average(each + step)[0] - average(each - step)[0]) / 2e-6
        assert derivatives[k] == pytest.approx(slope, rel=1e-4)


# --- the path integral ---------------------------------------------------------------------------


class Path:
    """Functions of words on the path from 0 to x, whose integrals are known."""

    def __init__(self, x: Floats, *, jump: Floats) -> None:
        self.x = x  # (n, n_words)
        self.jump = jump  # (n,): of a slope, at 0.7 of the path
        self.asked: list[tuple[list[int], int]] = []

    def mean_slopes(self, pending: Numbers, n_steps: int) -> list[Floats]:
        self.asked.append((pending.tolist(), n_steps))
        shares = midpoints(n_steps)
        slopes = 4 * shares**3 + self.jump[pending, None] * (shares > 0.7)
        return [
            np.array([x * slope.mean()]) for x, slope in zip(self.x[pending], slopes, strict=True)
        ]

    @property
    def ends(self) -> Floats:
        ends: Floats = self.x.sum(axis=1, keepdims=True) * (1 + 0.3 * self.jump[:, None])
        return ends


def test_a_smooth_path_needs_few_steps_and_gives_what_is_known() -> None:
    path = Path(np.array([[1.0, -3.0, 0.0]]), jump=np.zeros(1))

    (found,) = integrate(path.mean_slopes, np.zeros((1, 1)), path.ends)

    assert found.n_steps == 16
    assert found.is_complete
    assert found.values[0] == pytest.approx([1.0, -3.0, 0.0], rel=0.01)


def test_only_what_is_not_complete_is_done_again_with_twice_as_many_steps() -> None:
    path = Path(np.array([[1.0, 1.0], [1.0, 1.0]]), jump=np.array([0.0, 500.0]))

    found = integrate(path.mean_slopes, np.zeros((2, 1)), path.ends)

    assert path.asked[0] == ([0, 1], 16)
    assert path.asked[1:] == [([1], 16 * 2**i) for i in range(1, len(path.asked))]
    assert found[0].n_steps == 16
    assert found[1].n_steps == path.asked[-1][1]
    assert all(integral.is_complete for integral in found)


def test_what_never_becomes_complete_ends_at_the_most_steps() -> None:
    path = Path(np.array([[1.0, 1.0]]), jump=np.zeros(1))

    (found,) = integrate(path.mean_slopes, np.zeros((1, 1)), path.ends + 1)

    assert found.n_steps == MOST_STEPS == path.asked[-1][1]
    assert not found.is_complete
    assert found.gaps == pytest.approx([1.0], abs=1e-3)


def test_the_midpoint_rule_errs_a_quarter_as_much_with_twice_the_steps() -> None:
    errors = [abs((4 * midpoints(n) ** 3).mean() - 1) for n in (16, 32, 64)]

    assert errors[0] / errors[1] == pytest.approx(4, rel=0.01)
    assert errors[1] / errors[2] == pytest.approx(4, rel=0.01)


def test_a_sum_may_be_2_percent_off_or_a_hundredth() -> None:
    assert tolerance(np.array([0.1, -0.1, 10.0, -10.0])).tolist() == [0.01, 0.01, 0.2, 0.2]
    off = Integral(
        values=np.array([[1.0, 0.95], [1.0, 1.0]]),
        begins=np.zeros(2),
        ends=np.full(2, 2.0),
        n_steps=16,
    )
    assert off.gaps == pytest.approx([0.05, 0.0])
    assert not off.is_complete


# --- ranks ---------------------------------------------------------------------------------------


def test_rank_agreement_is_spearmans_also_with_ties() -> None:
    rng = np.random.default_rng(0)
    one = rng.integers(0, 5, 50).astype(float)
    other = one + rng.normal(0, 3, 50).round()

    assert spearman(one, other) == pytest.approx(scipy.stats.spearmanr(one, other).statistic)
    assert spearman(one, -one) == pytest.approx(-1)


def test_where_nothing_can_be_ranked_there_is_no_agreement() -> None:
    assert spearman(np.array([]), np.array([])) is None
    assert spearman(np.array([1.0]), np.array([2.0])) is None
    assert spearman(np.array([1.0, 1.0]), np.array([2.0, 3.0])) is None


# --- words as they are written -------------------------------------------------------------------


def spelt(text: str) -> dict[str, str]:
    spans = word_spans(text)
    return {
        text[begin:end]: found.name.lower()
        for (begin, end), found in zip(spans, spellings(text, spans), strict=True)
    }


def test_names_numbers_and_markup_are_told_from_plain_words() -> None:
    text = (
        'It stars Brad Pitt. He was <br /><br />The WORST, I\'d say (see Alien) 7/10 &amp; "Jaws"'
    )

    assert spelt(text) == {
        "It": "first",
        "stars": "plain",
        "Brad": "capital",
        "Pitt.": "capital",
        "He": "first",
        "was": "plain",
        "<br": "markup",
        "/><br": "markup",
        "/>The": "first",
        "WORST,": "plain",
        "I'd": "plain",
        "say": "plain",
        "(see": "plain",
        "Alien)": "capital",
        "7/10": "number",
        "&amp;": "markup",
        '"Jaws"': "first",
    }


def test_a_less_than_sign_begins_no_tag_and_an_address_is_markup() -> None:
    assert spelt("a <3 b, www.example.org/x2 and http://a.b c") == {
        "a": "first",
        "<3": "number",
        "b,": "plain",
        "www.example.org/x2": "markup",
        "and": "first",
        "http://a.b": "markup",
        "c": "first",
    }


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  ",
        "-- ...",
        "It's -- fine!\tYes\vno\fwell",
        "\u2028x \xa0y\u3000z",
        "a\x00b \x1c \x85",
    ],
)
def test_words_stand_where_they_are_cut(text: str) -> None:
    tokens = tokenize([text])

    inside = [tokenize([text[begin:end]]).words for begin, end in word_spans(text)]

    assert [words for (words,) in inside] == [tokens.words[place] for place in tokens.places]


def test_a_tally_takes_means_over_occurrences_and_counts_texts() -> None:
    tally = Tally(5, 2)
    ids = np.array([2, 3, 2], np.int32)
    capital, plain, first = Spelling.CAPITAL, Spelling.PLAIN, Spelling.FIRST
    tally.add(ids, np.array([[1.0, 5.0, 3.0], [0.0, 1.0, -1.0]]), np.array([capital, plain, first]))
    tally.add(ids[:1], np.array([[2.0], [4.0]]), np.array([plain]))

    assert tally.means()[:, 2].tolist() == [2.0, 1.0]
    assert tally.means()[:, 4].tolist() == [0.0, 0.0]
    assert tally.n_occurrences.tolist() == [0, 0, 3, 1, 0]
    assert tally.n_texts.tolist() == [0, 0, 2, 1, 0]
    assert tally.capital_share(2) == 0.5
    assert tally.share(2, Spelling.FIRST) == pytest.approx(1 / 3)


# --- showing -------------------------------------------------------------------------------------

HOSTILE = 'Great,\n<script>alert("1")</script> & \x1b[31m dull?  end'


def explanation(text: str = HOSTILE) -> Explanation:
    values = [2.0, -0.1, 0.0, -1.0, 0.5]
    spans = word_spans(text)
    whole = Balance(
        whose="2 models together", probability=0.9, log_odds=2.2, baseline=0.8, attributed=1.4
    )
    return Explanation(
        text=text,
        predicted="pos",
        target="pos",
        whole=whole,
        by_model=(whole, whole),
        words=tuple(
            Word(
                begin=begin,
                end=end,
                is_known=value != 0,
                is_read=place < 4,
                attribution=value,
                occlusion=value / 2,
                by_model=(value, -value),
            )
            for place, ((begin, end), value) in enumerate(zip(spans, values, strict=True))
        ),
        agreement=0.5,
        n_steps=32,
    )


class Checker(html.parser.HTMLParser):
    """Reads a page, and holds that each element ends where it should."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: object) -> None:
        del attrs
        self.tags.append(tag)
        if tag not in {"meta", "link"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data


def test_a_page_is_whole_and_runs_nothing() -> None:
    page = render("my <b>study", [explanation(), explanation()], n_words=3, each_model=True)

    checker = Checker()
    checker.feed(page)
    assert checker.open == []
    assert not {"script", "b", "img"} & set(checker.tags)
    assert checker.text.count(HOSTILE) == 6  # each text together, and by each of two models
    assert "default-src 'none'" in page
    assert "http" not in page.replace("http-equiv", "")
    assert 'class="f6"' in page
    assert 'class="n0 unknown"' in page
    assert 'class="unread"' in page


def test_the_parts_of_a_view_are_the_text() -> None:
    together, one, other = views_of(explanation(), each_model=True)

    for view in (together, one, other):
        assert "".join(piece.text for piece in view.pieces) == HOSTILE
    levels = [piece.level for piece in together.pieces if piece.word is not None]
    assert levels == [6, 0, 0, -3, 2]
    assert [p.level for p in other.pieces if p.word is not None] == [-6, 0, 0, 3, -2]


def test_a_word_tells_what_it_adds_to_the_very_model_that_is_shown() -> None:
    page = render("study", [explanation()], n_words=3, each_model=True)

    strongest = explanation().words[0]
    tips = re.findall(r'title="([^";]*)(; an unknown word[^"]*)?">' + "Great,", page)
    assert [float(value) for value, _ in tips] == [
        strongest.attribution,
        strongest.attribution,
        -strongest.attribution,
    ]
    assert [bool(occlusion) for _, occlusion in tips] == [True, False, False]


def test_colours_can_be_told_apart_and_read_on() -> None:
    def light(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    for row in (FOR, AGAINST):
        assert all((light(each) + 0.05) / (light(INK) + 0.05) > 4.5 for each in row)
        assert sorted(row, key=light, reverse=True) == list(row)
    assert [colour(shade(value, 2.0)) for value in (2.0, -2.0, 0.1)] == [FOR[-1], AGAINST[-1], None]
    assert shade(0.0, 0.0) == 0


def test_a_terminal_is_not_steered_by_a_text(capsys: pytest.CaptureFixture[str]) -> None:
    print_explanation(explanation(), n_words=2, each_model=False)

    said = capsys.readouterr().out
    assert "\x1b" not in said
    assert "pos, 2 models together: probability 0.900, log-odds +2.200" in said
    assert 'Great,\n<script>alert("1")</script> &  [31m dull?  end' in said
    assert "rank agreement with occlusion: 0.50" in said
    strong = coloured(views_of(explanation(), each_model=False)[0])
    assert [str(span.style) for span in strong.spans if span.start == 0] == [f"{INK} on {FOR[-1]}"]


def test_json_holds_all_and_each_model_where_asked() -> None:
    said = json.loads(json.dumps(as_json(explanation(), each_model=False)))
    assert said["words"][3]["text"] == "dull?"
    assert said["words"][3]["attribution"] == -1.0
    assert said["agreement"] == 0.5
    assert "models" not in said

    said = as_json(explanation(), each_model=True)
    assert [model["attributions"][0] for model in said["models"]] == [2.0, -2.0]
