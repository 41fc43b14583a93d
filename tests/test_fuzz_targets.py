"""What the fuzzers look for holds for their seeds, for every input that once broke it, and for what Hypothesis makes.

An input that a fuzzer found goes to `tests/fuzz_finds/TARGET.what.bin` before the fault is mended.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzz.choices import LONG, LONG_BYTES, expanded, three_cuts
from fuzz.targets import TARGETS

FINDS = Path(__file__).parent / "fuzz_finds"


@pytest.mark.parametrize("name", TARGETS)
def test_the_seeds_break_nothing(name: str) -> None:
    for seed in TARGETS[name].seeds():
        TARGETS[name].check(seed)


def test_what_once_broke_something_breaks_nothing_now() -> None:
    for find in sorted(FINDS.glob("*.bin")):
        TARGETS[find.name.partition(".")[0]].check(find.read_bytes())


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=40)
@given(data=st.data())
def test_words_in_any_order_break_nothing(name: str, data: st.DataObject) -> None:
    target = TARGETS[name]
    seed = data.draw(st.sampled_from(target.seeds()))
    cut = data.draw(st.integers(0, len(seed)))
    word = st.sampled_from([word for word in target.words if word != LONG]) | st.binary(max_size=8)
    words = data.draw(st.lists(word, max_size=20))
    target.check(seed[:cut] + b"".join(words) + data.draw(st.sampled_from([b"", seed[cut:]])))


@given(st.binary(max_size=4000), st.integers(0, 255))
def test_the_pieces_are_the_whole(octets: bytes, seed: int) -> None:
    for way in three_cuts(octets, seed):
        assert b"".join(way) == octets
        assert b"" not in way


def test_a_long_word_is_long_a_few_times_only() -> None:
    assert len(expanded(LONG * 5)) == 3 * LONG_BYTES + 2 * len(LONG)
