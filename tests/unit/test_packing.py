"""Weights take few bytes, come back as near as was promised, and damage is noticed."""

import io
import zipfile
from collections.abc import Callable

import numpy as np
import pytest

from tuner.errors import InputError
from tuner.packing import (
    TABLE,
    Floats,
    NumberFormat,
    Packed,
    Size,
    Step,
    Stored,
    Variant,
    candidates,
    choose_rows,
    factorise,
    largest_mask,
    multiply_out,
    new_numbers,
    pack,
    read_variant,
    store,
    unpack,
)
from tuner.packing.factors import LEFT, RIGHT

KERNEL = "gru_1_forward/recurrent_kernel"
SIZE = Size(n_ids=20_000, embedding=128, units=64)


def normal(*shape: int, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def hostile_rows() -> Floats:
    """Make rows of very different kinds: random ones of all sizes, zeros, constants, one peak."""
    sizes = np.array([1e-30, 1e-9, 1e-6, 1e-4, 0.05, 1, 1e3, 1e6])[:, None]
    rows = [normal(8, 16) * sizes, np.zeros((1, 16)), np.full((2, 16), [[0.3], [-2.0]])]
    rows.append(np.eye(1, 16) * 7 + 0.001)
    return np.concatenate(rows).astype(np.float32)


# --- numbers of less precision -------------------------------------------------------------------


@pytest.mark.parametrize(("name", "axis"), [(TABLE, 1), (KERNEL, 0)])
def test_int8_is_off_by_half_a_scale_at_most_in_every_row_or_column(name: str, axis: int) -> None:
    weight = hostile_rows() if axis else hostile_rows().T.copy()

    stored = store({name: weight}, "int8")[name]

    assert stored.numbers.dtype == np.int8
    assert stored.scale is not None
    assert stored.scale.dtype == np.float16
    assert stored.scale.shape == tuple(1 if i == axis else n for i, n in enumerate(weight.shape))
    assert np.abs(stored.numbers.astype(int)).max() <= 127
    scale = stored.scale.astype(np.float64)
    error = np.abs(stored.value().astype(np.float64) - weight)
    assert (error <= scale / 2 * (1 + 1e-6)).all()
    # The scale is no larger than it must be: 1/127 of the largest, up to a float16's next one.
    needed = np.abs(weight).max(axis=axis, keepdims=True).astype(np.float64) / 127
    assert (scale <= needed * (1 + 2**-10) + 2**-24).all()
    assert not stored.value()[weight == 0].any()


def test_rows_of_one_value_keep_it_and_rows_of_zeros_stay_zeros() -> None:
    table = np.repeat(np.array([[0.0], [0.25], [-3.0]], np.float32), 5, axis=1)

    found = store({TABLE: table}, "int8")[TABLE].value()

    assert found == pytest.approx(table, rel=2**-9)
    assert not found[0].any()


def test_biases_and_the_long_factor_stay_floats() -> None:
    weights = {
        "gru_1_forward/bias": normal(2, 6),
        TABLE + LEFT: normal(9, 2),
        "x/kernel": normal(3),
    }

    stored = store(weights | {TABLE + RIGHT: normal(2, 4)}, "int8")

    assert {name: str(each.numbers.dtype) for name, each in stored.items()} == {
        "gru_1_forward/bias": "float16",
        TABLE + LEFT: "int8",
        "x/kernel": "float16",
        TABLE + RIGHT: "float16",
    }


def test_float16_is_off_by_its_last_digit_and_float32_by_nothing() -> None:
    weight = normal(30, 7)

    half = store({KERNEL: weight}, "float16")[KERNEL]
    whole = store({KERNEL: weight}, "float32")[KERNEL]

    assert half.numbers.dtype == np.float16
    assert half.value() == pytest.approx(weight, rel=2**-11, abs=2**-25)
    assert np.array_equal(whole.value(), weight)


@pytest.mark.parametrize(("numbers", "value"), [("float16", 7e4), ("int8", 1e7)])
def test_what_is_too_large_for_a_format_is_refused(numbers: str, value: float) -> None:
    weight = np.full((2, 2), value, np.float32)

    with pytest.raises(InputError, match=rf"'{TABLE}' is too large .* Leave these steps out"):
        store({TABLE: weight}, "float16" if numbers == "float16" else "int8")


# --- factors -------------------------------------------------------------------------------------


def test_a_table_of_a_rank_is_had_back_from_factors_of_that_rank() -> None:
    table = normal(50, 3) @ normal(3, 12, seed=1)

    factors = factorise({TABLE: table, KERNEL: normal(2, 2)}, 3)

    assert {name: weight.shape for name, weight in factors.items()} == {
        KERNEL: (2, 2),
        TABLE + LEFT: (50, 3),
        TABLE + RIGHT: (3, 12),
    }
    assert multiply_out(factors)[TABLE] == pytest.approx(table, abs=1e-5)
    assert multiply_out(factors).keys() == {TABLE, KERNEL}


def test_no_table_of_a_rank_comes_nearer() -> None:
    table = normal(40, 10)
    sizes = np.linalg.svd(table, compute_uv=False)

    for rank in (1, 4, 9):
        error = table - multiply_out(factorise({TABLE: table}, rank))[TABLE]
        assert (error**2).sum() == pytest.approx((sizes[rank:] ** 2).sum(), rel=1e-4)


def test_the_columns_of_the_short_vectors_are_equally_large() -> None:
    table = normal(60, 8) * np.logspace(0, -4, 8, dtype=np.float32)

    left = factorise({TABLE: table}, 6)[TABLE + LEFT]

    assert np.linalg.norm(left, axis=0) == pytest.approx(1, abs=1e-5)


# --- zeros and words -----------------------------------------------------------------------------


def test_the_largest_numbers_stay() -> None:
    weight = np.array([[3.0, -1.0], [0.5, -4.0], [1.0, 0.0]], np.float32)

    assert largest_mask(weight, 0.5).tolist() == [[True, True], [False, True], [False, False]]
    assert largest_mask(weight, 0).all()
    assert largest_mask(normal(10, 10), 0.9).sum() == 10


def test_the_most_important_words_stay_and_of_equal_ones_the_more_frequent() -> None:
    importance = np.array([9.0, 9.0, 0.0, 5.0, 0.0, 7.0, 0.0])

    kept = choose_rows(importance, 5)

    assert kept.tolist() == [0, 1, 2, 3, 5]
    assert new_numbers(kept, 7).tolist() == [0, 1, 2, 3, 1, 4, 1]
    assert choose_rows(importance, 99).tolist() == [0, 1, 2, 3, 4, 5, 6]


# --- the file ------------------------------------------------------------------------------------


def sparse() -> Floats:
    weight = normal(40, 30)
    return np.where(largest_mask(weight, 0.9), weight, 0).astype(np.float32)


def example() -> Packed:
    weights = {TABLE: normal(20, 9), KERNEL: sparse(), "gru/bias": normal(2, 5)}
    words = ("über\x85", "a\u2028b", "film", "\U0001f600")
    return Packed(weights=store(weights, "int8"), words=words, ids=None)


def test_a_packed_model_comes_back_as_it_was() -> None:
    packed = example()

    found = unpack(pack(packed))

    assert found.words == packed.words
    assert found.ids is None
    assert found.weights.keys() == packed.weights.keys()
    for name, expected in packed.weights.items():
        assert found.weights[name].numbers.dtype == expected.numbers.dtype
        assert np.array_equal(found.weights[name].value(), expected.value())
    assert pack(packed) == pack(example())


@pytest.mark.parametrize("numbers", ["float32", "float16", "int8"])
def test_zeros_come_back_and_take_hardly_any_bytes(numbers: NumberFormat) -> None:
    weight = normal(400, 300)
    few = np.where(largest_mask(weight, 0.9), weight, np.float32(0))
    full, zeros = (
        Packed(weights=store({KERNEL: each}, numbers), words=None, ids=np.arange(9))
        for each in (weight, few)
    )

    found = unpack(pack(zeros))

    assert np.array_equal(found.weights[KERNEL].value(), zeros.weights[KERNEL].value())
    assert (found.weights[KERNEL].value() == 0).mean() >= 0.9
    assert found.ids is not None
    assert found.ids.tolist() == list(range(9))
    assert len(pack(zeros)) < len(pack(full)) / 3


def test_another_program_reads_the_file_as_arrays_without_running_any_code() -> None:
    with np.load(io.BytesIO(pack(example())), allow_pickle=False) as arrays:
        assert arrays[TABLE].dtype == np.int8
        assert arrays[TABLE + ".scale"].dtype == np.float16
        assert arrays[KERNEL + ".nonzero"].dtype == np.int8
        assert arrays["words"].tobytes().decode().split("\n")[2] == "film"


def saved(**arrays: object) -> bytes:
    content = io.BytesIO()
    np.savez(content, **arrays)  # type: ignore[arg-type]  # also what is no array
    return content.getvalue()


def with_flipped_byte() -> bytes:
    content = bytearray(pack(example()))
    content[len(content) // 3] ^= 0x55
    return bytes(content)


@pytest.mark.parametrize(
    "content",
    [
        lambda: b"",
        lambda: b"no zip at all",
        lambda: pack(example())[:-30],
        with_flipped_byte,
        lambda: saved(x=np.array([object()])),
        lambda: saved(x=np.ones(3)),
        lambda: saved(x=np.ones(3, np.int8)),
        lambda: saved(x=np.array([np.nan], np.float32)),
        lambda: saved(**{"x": np.ones((3, 2), np.int8), "x.scale": np.ones((4, 1), np.float16)}),
        lambda: saved(**{"x": np.ones((2, 1), np.int8), "x.scale": np.ones((1, 9), np.float16)}),
        lambda: saved(**{"x.nonzero": np.ones(3, np.float16), "x.shape": np.array([2, 2])}),
        lambda: saved(
            **{
                "x.nonzero": np.ones(3, np.float16),
                "x.places": np.array([0b11000000], np.uint8),
                "x.shape": np.array([2, 2]),
            }
        ),
        lambda: saved(words=np.frombuffer(b"a\n\nb", np.uint8)),
        lambda: saved(words=np.frombuffer(b"a\na", np.uint8)),
        lambda: saved(words=np.frombuffer(b"\xff", np.uint8)),
    ],
)
def test_what_is_damaged_or_foreign_is_refused(content: Callable[[], bytes]) -> None:
    with pytest.raises(InputError, match="is no packed model"):
        unpack(content())


def test_a_file_that_claims_more_than_there_is_room_for_is_refused() -> None:
    content = io.BytesIO()
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f4", "fortran_order": False, "shape": (2**50,)}
    )
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("x.npy", header.getvalue())

    with pytest.raises(InputError, match="is no packed model"):
        unpack(content.getvalue())


def test_floats_are_their_own_value() -> None:
    stored = Stored(numbers=np.array([0.5], np.float16))

    assert stored.value().dtype == np.float32
    assert stored.value().tolist() == [0.5]


# --- steps and variants --------------------------------------------------------------------------


def names(*steps: str) -> list[str]:
    return [str(variant) for variant in candidates(steps, SIZE)]


def test_a_variant_is_named_by_its_steps_in_the_order_in_which_they_are_done() -> None:
    variant = read_variant("int8 + low_rank:16+vocabulary:5000", SIZE)

    assert str(variant) == "vocabulary:5000+low_rank:16+int8"
    assert variant.numbers == "int8"
    assert variant.shaping == (
        Step(name="vocabulary", amount=5000),
        Step(name="low_rank", amount=16),
    )
    assert read_variant(str(variant), SIZE) == variant
    assert str(read_variant("prune", SIZE)) == "prune:0.8"
    assert str(Variant(steps=())) == "original"


def test_formats_are_tried_alone_and_all_else_in_the_smallest_of_them() -> None:
    assert names("low_rank", "int8", "float16") == [
        "float16",
        "int8",
        "low_rank:32+int8",
        "low_rank:16+int8",
    ]
    assert names("distil", "prune:0.95") == ["distil:32", "prune:0.95", "distil:32+prune:0.95"]


def test_mild_steps_go_with_mild_ones_and_some_never_go_together() -> None:
    found = names("vocabulary", "prune", "low_rank", "int8")

    assert found == [
        "int8",
        "vocabulary:5000+int8",
        "vocabulary:2500+int8",
        "prune:0.8+int8",
        "prune:0.9+int8",
        "low_rank:32+int8",
        "low_rank:16+int8",
        "vocabulary:5000+prune:0.8+int8",
        "vocabulary:2500+prune:0.9+int8",
        "vocabulary:5000+low_rank:32+int8",
        "vocabulary:2500+low_rank:16+int8",
    ]


def test_the_smallest_model_has_variants_too() -> None:
    tiny = Size(n_ids=10, embedding=1, units=1)

    assert [str(v) for v in candidates(("vocabulary", "distil", "low_rank"), tiny)][:3] == [
        "vocabulary:3",
        "distil:1",
        "low_rank:1",
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("int9", "no step 'int9'.*Did you mean `int8`"),
        ("", "no step ''"),
        ("vocabulary:20000", "from 3 to 19,999. Received '20000'"),
        ("vocabulary:99.5", "ids that are left"),
        ("low_rank:128", "from 1 to 127"),
        ("low_rank:many", "Received 'many'"),
        ("prune:1", "from 0.01 to 0.99"),
        ("distil:0", "units of the student"),
        ("int8:4", "expected no amount"),
        ("float16+int8", "float16 and int8 do not go together"),
        ("prune+low_rank", "low_rank and prune do not go together"),
        ("int8+int8", "int8 is there twice"),
    ],
)
def test_a_variant_that_makes_no_sense_is_refused(text: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        read_variant(text, SIZE)


def test_steps_that_make_no_sense_are_refused() -> None:
    with pytest.raises(InputError, match="Received none"):
        candidates((), SIZE)
    with pytest.raises(InputError, match="no step 'prun'"):
        candidates(("prun",), SIZE)
