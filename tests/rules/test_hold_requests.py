"""ETRN, ATRN, TURN: who may set waiting mail going, and what each is told."""

from __future__ import annotations

import pytest

from postroad.rules.hold_requests import Pending, answer_to_etrn, answer_to_turn, nodes_of, refuse_turn

HOLDS = ("d.example", "x.d.example", "y.x.d.example", "notd.example")


@pytest.mark.parametrize(
    ("argument", "holds"),
    [
        ("d.example", ("d.example",)),
        ("@d.example", ("d.example", "x.d.example", "y.x.d.example")),
        ("@x.d.example", ("x.d.example", "y.x.d.example")),
        ("elsewhere.example", ()),
        ("#d.example", ()),
    ],
)
def test_a_node_is_a_domain_or_with_an_at_sign_all_below_it(argument: str, holds: tuple[str, ...]) -> None:
    assert nodes_of(argument, HOLDS).holds == holds


@pytest.mark.parametrize(
    ("pending", "code"),
    [
        ((), 459),
        ((Pending(0),), 251),
        ((Pending(3),), 253),
        ((Pending(3), Pending(4)), 253),
        ((Pending(3), Pending(4, counted=False)), 252),
        ((Pending(0, refused=True),), 458),
        ((Pending(0, refused=True), Pending(2)), 253),
    ],
)
def test_each_state_of_a_node_has_its_reply(pending: tuple[Pending, ...], code: int) -> None:
    answer = answer_to_etrn("d.example", pending)
    assert answer.code == code
    assert "d.example" in str(answer)


def test_the_number_of_messages_is_that_of_all_nodes() -> None:
    assert str(answer_to_etrn("@d.example", (Pending(3), Pending(4)))).startswith("253 2.0.0 OK, 7 pending messages")


@pytest.mark.parametrize(
    ("verb", "owned", "asked", "code"),
    [
        ("ATRN", HOLDS, (), None),
        ("ATRN", HOLDS, ("d.example", "x.d.example"), None),
        ("ATRN", HOLDS, ("d.example", "other.example"), 450),
        ("ATRN", (), ("d.example",), 450),
        ("ATRN", (), (), 453),
        ("TURN", HOLDS, (), None),
        ("TURN", (), (), 502),
    ],
)
def test_only_an_owner_may_turn_and_only_for_its_own(
    verb: str, owned: tuple[str, ...], asked: tuple[str, ...], code: int | None
) -> None:
    refusal = refuse_turn(verb, owned, asked)
    assert (refusal and refusal.code) == code


@pytest.mark.parametrize(
    ("verb", "locked", "messages", "code"),
    [
        ("ATRN", False, 1, None),
        ("ATRN", True, 1, None),
        ("ATRN", False, 0, 453),
        ("ATRN", True, 0, 451),
        ("TURN", False, 1, None),
        ("TURN", False, 0, None),
        ("TURN", True, 0, 450),
    ],
)
def test_what_is_being_fetched_already_is_not_fetched_twice(
    verb: str, locked: bool, messages: int, code: int | None
) -> None:
    answer = answer_to_turn(verb, locked=locked, messages=messages)
    assert (answer and answer.code) == code
