"""Explanations of real nets: they add up, look at nothing but the text, and find what is there."""

import io
import re
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.artifacts import make_artifact, words_of
from tuner.attribution.ranks import spearman
from tuner.cli.explain import explain_texts, explain_together
from tuner.cli.summarised import print_summary
from tuner.data.text import UNKNOWN_ID
from tuner.deliver import Explainer, IncompleteError, Wish, open_artifact, summarise
from tuner.deliver.explaining.gradients import attribute
from tuner.deliver.explaining.probe import Probe
from tuner.errors import InputError
from tuner.params import GRUParams

RNG = np.random.default_rng(0)
WORDS = tuple(f"w{number}" for number in range(40))
TEXTS = (
    *(" ".join(RNG.choice(WORDS, length)) for length in (3, 8, 7, 14)),
    "w1, W2! neverseen w3 w2 w2 w1 (w5)",
    "w7",
    "",
)


def small(**changes: object) -> GRUParams:
    return GRUParams.model_validate({"units": 3, "embedding": 4, "max_length": 8} | changes)


KINDS = {
    "last": small(pooling="last"),
    "max": small(pooling="max"),
    "mean": small(pooling="mean", bidirectional=False, truncate="end"),
    "mean_max": small(pooling="mean_max", layers=2, layer_dropout=0.5),
    "attention": small(pooling="attention", word_dropout=0.2),
    "last of pieces": small(pooling="last", chunk_length=3),
    "mean_max of pieces": small(pooling="mean_max", chunk_length=3, layers=2),
    "attention of pieces": small(pooling="attention", chunk_length=3),
    "reset before": small(pooling="last", reset_after=False),
    "half digits": small(pooling="mean_max", precision="mixed_float16"),
}


def grow(factor: float) -> Callable[[int, keras.Model], None]:
    """Give what makes nets say something though they were never trained."""

    def prepare(number: int, net: keras.Model) -> None:
        del number
        for variable in net.trainable_variables:
            variable.assign(variable * (20 if "embeddings" in variable.path else factor))

    return prepare


def explainer_of(
    folder: Path, *params: GRUParams, n_classes: int = 2, factor: float = 2.0
) -> Explainer:
    make_artifact(folder, WORDS, params=params, n_classes=n_classes, prepare=grow(factor))
    return Explainer(open_artifact(folder))


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> Explainer:
    """All kinds of nets as one ensemble: it explains each of them, and all together."""
    return explainer_of(tmp_path_factory.mktemp("kinds") / "all", *KINDS.values(), n_classes=3)


def test_attributions_add_up_for_every_kind_of_net_and_for_all_together(kinds: Explainer) -> None:
    found = [kinds.explain(text, target="class 1") for text in TEXTS[1::2]]

    for one in found:
        for balance in (one.whole, *one.by_model):
            assert balance.gap <= balance.tolerance
    for number in range(len(KINDS)):
        changes = [one.by_model[number].log_odds - one.by_model[number].baseline for one in found]
        assert np.ptp(changes) > 0.2  # there was something to explain
    sums = [sum(word.attribution for word in one.words) for one in found]
    assert sums == pytest.approx([one.whole.attributed for one in found])


def test_what_is_explained_is_what_is_predicted(tmp_path: Path) -> None:
    explainer = explainer_of(
        tmp_path / "two", KINDS["last of pieces"], KINDS["half digits"], n_classes=3
    )
    expected = explainer.artifact.predict(TEXTS)

    for text, chances in zip(TEXTS, expected.tolist(), strict=True):
        found = explainer.explain(text)
        assert found.predicted == found.target == f"class {np.argmax(chances)}"
        assert found.whole.probability == pytest.approx(max(chances), abs=2e-3)  # float16 in one
        p = found.whole.probability
        assert found.whole.log_odds == pytest.approx(np.log(p / (1 - p)), abs=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_padding_gets_exactly_0_and_neighbours_do_not_matter(kinds: Explainer, kind: str) -> None:
    probe = Probe(kinds.artifact.classifiers[list(KINDS).index(kind)], n_ids=len(WORDS) + 2)
    ids = np.array(
        [[3, 4, 0, 0, 0, 0, 0, 0], [5, 6, 7, 8, 9, 10, 11, 12], [4, 4, 9, 1, 0, 0, 0, 0]], np.int32
    )
    shares, targets = np.array([0.3, 0.6, 1.0]), np.array([0, 1, 2])

    logits, slopes = probe.slopes(ids, shares, targets)

    assert (slopes[ids == 0] == 0).all()
    assert all(slopes[row].any() for row in range(3))
    assert probe.logits(ids, shares) == pytest.approx(logits, abs=1e-6)
    for row in range(3):
        alone = ids[row : row + 1, : np.count_nonzero(ids[row])]
        its_logits, its_slopes = probe.slopes(alone, shares[[row]], targets[[row]])
        assert its_logits[0] == pytest.approx(logits[row], abs=1e-5)
        assert its_slopes[0] == pytest.approx(slopes[row, : alone.shape[1]], abs=1e-5)


@pytest.mark.parametrize("kind", ["mean_max", "attention of pieces", "reset before"])
def test_slopes_are_those_of_the_net_in_the_file(kinds: Explainer, kind: str) -> None:
    classifier = kinds.artifact.classifiers[list(KINDS).index(kind)]
    net, table = classifier.net, classifier.net.get_layer("embedding")
    ids = np.array([[3, 4, 9, 2, 0, 0], [5, 6, 7, 8, 9, 10]], np.int32)
    vectors = keras.Model(net.input, table.output)(ids)
    rest = keras.Model([net.input, table.output], net.output)
    with tf.GradientTape() as tape:
        tape.watch(vectors)
        chances = rest([tf.constant(ids), vectors])
        odds = tf.math.log(chances[:, 1] / (1 - chances[:, 1]))
    expected = tf.reduce_sum(vectors * tape.gradient(odds, vectors), axis=2).numpy()

    _, slopes = Probe(classifier, n_ids=len(WORDS) + 2).slopes(ids, np.ones(2), np.array([1, 1]))

    assert slopes == pytest.approx(expected[:, :6], rel=1e-3, abs=1e-5)


def test_words_that_no_model_reads_get_nothing(tmp_path: Path) -> None:
    start, end = KINDS["last"], KINDS["mean"].model_copy(update={"max_length": 3})
    explainer = explainer_of(tmp_path / "two", start, end)

    found = explainer.explain(" ".join(WORDS[:14]))

    read = [word.is_read for word in found.words]
    assert read == [True] * 3 + [False] * 3 + [True] * 8
    for word in found.words:
        assert (word.attribution != 0) == (word.occlusion != 0) == word.is_read
    assert [word.by_model[0] != 0 for word in found.words] == [False] * 6 + [True] * 8
    assert [word.by_model[1] != 0 for word in found.words] == [True] * 3 + [False] * 11


def test_occlusion_is_the_fall_without_a_word_and_0_for_unknown_ones(tmp_path: Path) -> None:
    explainer = explainer_of(tmp_path / "two", KINDS["max"], KINDS["attention"])
    found = explainer.explain("w1, W2! neverseen w3", target="class 0")

    def log_odds(ids: list[int]) -> float:
        p = float(explainer.artifact.predict_ids([ids])[0, 0])
        return float(np.log(p / (1 - p)))

    whole = [3, 4, UNKNOWN_ID, 5]
    for place, word in enumerate(found.words):
        without = [*whole[:place], UNKNOWN_ID, *whole[place + 1 :]]
        assert word.occlusion == pytest.approx(log_odds(whole) - log_odds(without), abs=1e-4)
    assert [found.written(word) for word in found.words] == ["w1,", "W2!", "neverseen", "w3"]
    assert [word.is_known for word in found.words] == [True, True, False, True]
    assert found.words[2].occlusion == 0
    assert found.words[2].attribution != 0


def test_two_classes_mirror_each_other(tmp_path: Path) -> None:
    explainer = explainer_of(tmp_path / "two", KINDS["mean"], KINDS["max"])

    one, other = (explainer.explain(TEXTS[3], target=f"class {number}") for number in (0, 1))

    assert [word.attribution for word in one.words] == pytest.approx(
        [-word.attribution for word in other.words], abs=1e-6
    )
    assert one.agreement == pytest.approx(other.agreement)


def test_a_sure_net_is_explained_to_the_digit(tmp_path: Path) -> None:
    def make_sure(number: int, net: keras.Model) -> None:
        grow(2.0)(number, net)
        last = net.get_layer("probabilities")
        last.set_weights([weight * 100 for weight in last.get_weights()])

    make_artifact(tmp_path / "sure", WORDS, params=[KINDS["mean"]], prepare=make_sure)
    explainer = Explainer(open_artifact(tmp_path / "sure"))

    found = [explainer.explain(text) for text in TEXTS[:4]]

    assert max(one.whole.log_odds for one in found) > 20  # in float32 the probability is 1
    assert all(one.whole.gap <= one.whole.tolerance for one in found)


def test_where_no_number_of_steps_is_enough_that_is_an_error(tmp_path: Path) -> None:
    explainer = explainer_of(tmp_path / "jagged", KINDS["mean"], factor=40)

    with pytest.raises(
        IncompleteError, match=r"After 1024 steps.*the attributions sum to.*Expected"
    ):
        list(map(explainer.explain, TEXTS))


def test_a_text_that_cannot_be_explained_costs_no_other_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tuner.cli.explain.use_device", lambda: "cpu")
    explainer_of(tmp_path / "jagged", KINDS["mean"], factor=40)
    page = tmp_path / "page.html"

    with pytest.raises(
        InputError, match=r"Left out, for the reason above: [\d, ]+, counted from 1"
    ):
        explain_texts(
            str(tmp_path / "jagged"),
            TEXTS,
            column="text",
            target=None,
            n_words=3,
            each_model=False,
            form="table",
            output=str(page),
        )

    assert re.search(r"text \d+: After 1024 steps", capsys.readouterr().err)
    assert 1 <= page.read_text().count("<section>") < len(TEXTS)


def test_stdin_is_read_by_the_process_that_explains(monkeypatch: pytest.MonkeyPatch) -> None:
    words = io.TextIOWrapper(io.BytesIO(b"one\n"))
    monkeypatch.setattr("sys.stdin", words)

    def begin_anew() -> str:
        assert words.buffer.tell() == 0
        raise KeyboardInterrupt

    monkeypatch.setattr("tuner.cli.explain.use_device", begin_anew)
    with pytest.raises(KeyboardInterrupt):
        explain_together(
            "model",
            ["-"],
            column="text",
            group=None,
            target=None,
            n_words=3,
            min_texts=1,
            form="table",
        )


def test_what_cannot_be_explained_is_told(kinds: Explainer, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"No class 'class O'.*class 0, class 1, class 2.*mean"):
        kinds.explain("w1", target="class O")
    make_artifact(tmp_path / "ids", None)
    with pytest.raises(InputError, match="take ids, not texts"):
        Explainer(open_artifact(tmp_path / "ids")).explain("w1")
    with pytest.raises(InputError, match="half a character"):
        kinds.explain("\ud800")


# --- trained nets --------------------------------------------------------------------------------

PLANTED = "7/10"
PARAMS = GRUParams(units=4, embedding=6, max_length=16, pooling="max", bidirectional=False)


def make_reviews(n: int, seed: int) -> tuple[list[str], list[int]]:
    """Make up texts of which every other one has a word that tells its class."""
    rng = np.random.default_rng(seed)
    texts, labels = [], []
    for number in range(n):
        words = rng.choice([f"v{i}" for i in range(200)], 10).tolist()
        if number % 2:
            words[rng.integers(10)] = PLANTED
        texts.append(" ".join(words))
        labels.append(number % 2)
    return texts, labels


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An artifact of two models: one was trained, one was not."""
    texts, labels = make_reviews(400, seed=1)
    words = words_of(texts)
    folder = tmp_path_factory.mktemp("learned")
    make_artifact(folder / "blank", words, params=[PARAMS])
    data = open_artifact(folder / "blank").encode(texts)
    ids = data.ids.reshape(len(texts), 10)

    def train(number: int, net: keras.Model) -> None:
        if number:
            return
        net.compile(keras.optimizers.Adam(0.02), "sparse_categorical_crossentropy")
        net.fit(ids, np.array(labels), batch_size=20, epochs=5, verbose=0, shuffle=False)

    make_artifact(folder / "two", words, params=[PARAMS, PARAMS], prepare=train)
    return folder / "two"


def test_a_word_that_tells_the_class_is_found(learned: Path) -> None:
    explainer = Explainer(open_artifact(learned))
    texts, _ = make_reviews(8, seed=2)

    found = [explainer.explain(text, target="class 1") for text in texts[1::2]]

    for one in found:
        (strongest,) = one.strongest(1)
        assert one.written(strongest) == PLANTED
        assert strongest.attribution > 0
        assert strongest.occlusion == max(word.occlusion for word in one.words)
        assert one.agreement is not None


def test_a_net_of_random_weights_has_another_map(learned: Path) -> None:
    """Adebayo et al. 2018, arXiv:1810.03292: what a map shows must hang on what was learned."""
    explainer = Explainer(open_artifact(learned))
    data = explainer.artifact.encode(make_reviews(60, seed=3)[0])

    found = attribute(explainer.models, data, np.ones(60, np.int64))

    _, trained, random = np.concatenate([integral.values for integral in found], axis=1)
    assert abs(spearman(trained, random) or 0.0) < 0.2
    assert (explainer.artifact.words or ())[0] == "710"
    planted = data.ids == 2
    assert np.abs(trained[planted]).mean() > 10 * np.abs(random[planted]).mean()


def test_a_summary_lists_what_matters_who_disagrees_and_shortcuts(
    learned: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    explainer = Explainer(open_artifact(learned))
    texts, labels = make_reviews(100, seed=4)
    told: list[int] = []

    found = summarise(
        explainer,
        texts,
        Wish(n_words=3, min_texts=3),
        groups=["one film" if label else f"film {i}" for i, label in enumerate(labels)],
        tell=told.append,
    )

    assert told[-1] == found.n_texts == 100
    assert found.n_left_out == 0
    first = found.for_class["class 1"][0]
    assert (first.word, first.n_texts, first.n_occurrences) == ("710", 50, 50)
    assert first.effect > 1
    assert all(0 < word.effect < first.effect / 3 for word in found.for_class["class 1"][1:])
    assert "710" not in {word.word for word in found.for_class["class 0"]}
    assert found.disagreements is not None
    assert found.disagreements[0].word.word == "710"
    assert found.disagreements[0].spread > found.disagreements[1].spread
    shortcut = found.shortcuts[0]
    assert (shortcut.word.word, shortcut.target) == ("710", "class 1")
    assert shortcut.reasons == ("a number", "50 of its 50 texts are of 'one film'")
    assert shortcut.n_tried == 50
    assert shortcut.n_decided > 40

    other = summarise(explainer, texts, Wish(n_words=3, min_texts=3, target="class 0"))
    (against,) = [each for each in other.shortcuts if each.word.word == "710"]
    assert against.word.effect < 0
    print_summary(other)
    assert "against class 0" in capsys.readouterr().out


def test_a_summary_of_many_classes_or_of_one(tmp_path: Path) -> None:
    explainer = explainer_of(tmp_path / "three", KINDS["mean_max of pieces"], n_classes=3)
    texts = TEXTS[:3]

    whole = summarise(explainer, texts, Wish(min_texts=1))
    one = summarise(explainer, texts, Wish(min_texts=1, target="class 2"))

    assert list(whole.for_class) == ["class 0", "class 1", "class 2"]
    assert whole.disagreements is None
    assert one.for_class == {"class 2": whole.for_class["class 2"]}
    listed = whole.for_class["class 2"][0]
    effects = [
        word.attribution
        for found in (explainer.explain(text, target="class 2") for text in texts)
        for word in found.words
        if word.is_read and found.written(word).strip(",!()").lower() == listed.word
    ]
    assert listed.effect == pytest.approx(np.mean(effects))
    with pytest.raises(InputError, match="No word is read in 9 of 3 texts"):
        summarise(explainer, texts, Wish(min_texts=9))
    with pytest.raises(InputError, match="There is no text"):
        summarise(explainer, [], Wish())
