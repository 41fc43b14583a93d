"""Queue ids and the numbers that they spell."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroad.vocabulary.queue_id import from_number, to_number

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
NUMBERS = st.integers(0, (1 << 60) - 1)


@given(NUMBERS, NUMBERS)
def test_an_id_spells_its_number_in_either_case_and_sorts_as_it_does(one: int, other: int) -> None:
    assert to_number(from_number(one)) == to_number(from_number(one).lower()) == one
    assert (from_number(one) < from_number(other)) == (one < other)


def test_each_character_stands_for_five_bits_the_highest_first() -> None:
    assert from_number(0) == "000000000000"
    assert from_number((1 << 60) - 1) == "ZZZZZZZZZZZZ"
    assert from_number(sum(n << 5 * (11 - n) for n in range(12))) == ALPHABET[:12]
    assert from_number(sum(n + 20 << 5 * (11 - n) for n in range(12))) == ALPHABET[20:]


@given(st.text(st.sampled_from(ALPHABET + ALPHABET.lower() + "ILOUilou_+- \n٣é"), min_size=11, max_size=13))
def test_what_is_no_id_is_refused(text: str) -> None:
    if len(text) == 12 and set(text.upper()) <= set(ALPHABET):
        assert from_number(to_number(text)) == text.upper()
    else:
        with pytest.raises(ValueError, match="is not a queue id"):
            to_number(text)


@pytest.mark.parametrize("number", [-1, 1 << 60])
def test_a_number_outside_of_sixty_bits_has_no_id(number: int) -> None:
    with pytest.raises(ValueError, match="queue number"):
        from_number(number)
