"""How many connections a host bears, and who is left alone: the pure rules."""

from __future__ import annotations

from datetime import timedelta

import pytest

from postroad.rules.concurrency import Concurrency, speaks_of_load
from postroad.rules.dead_hosts import DeadHosts
from postroad.rules.mx_order import NoWay
from postroad.rules.reachability import Reachability
from postroad.vocabulary.enhanced_status import EnhancedStatus
from postroad.vocabulary.limits import (
    CONCURRENCY_FIRST,
    DEAD_MAX_S,
    DEFERRALS_IN_A_ROW,
    OFFLINE_HOSTS,
    ROUND_AFTER_SETBACK,
)
from postroad.vocabulary.outcome import Fate
from postroad.vocabulary.reply import reply

VERDICT = NoWay(Fate.DEFERRED, EnhancedStatus(4, 4, 1), "No connection.")


def grown(ceiling: int, successes: int) -> Concurrency:
    it = Concurrency(ceiling)
    for _ in range(successes):
        it.succeeded()
    return it


def test_it_grows_by_one_in_every_round_up_to_the_ceiling() -> None:
    assert Concurrency(20).limit == CONCURRENCY_FIRST
    assert grown(20, 2).limit == 3
    assert grown(20, 2 + 3).limit == 4
    assert grown(20, 1000).limit == 20
    assert grown(1, 1000).limit == 1


def test_connections_that_fail_together_halve_it_once_and_it_grows_slowly_then() -> None:
    it = grown(20, 1000)
    together = it.generation
    for _ in range(15):
        it.pressed(together)
    assert it.limit == 10
    for _ in range(ROUND_AFTER_SETBACK - 1):
        assert not it.succeeded()
    assert it.succeeded()
    assert it.limit == 11
    for _ in range(10):
        it.pressed(it.generation)
    assert it.limit == 1


def test_a_host_that_puts_everybody_off_is_asked_over_one_connection_until_it_takes_something() -> None:
    it = grown(20, 1000)
    for _ in range(DEFERRALS_IN_A_ROW - 1):
        it.deferred()
    assert it.limit == 20
    it.deferred()
    assert it.limit == 1
    it.succeeded()
    assert it.limit == 2


@pytest.mark.parametrize(
    ("code", "status", "at_mail", "load"),
    [
        (421, "", False, True),
        (451, "4.3.2", False, True),
        (450, "4.4.5", True, True),
        (450, "4.7.1", True, True),
        (450, "4.7.1", False, False),  # greylisting, of one recipient
        (452, "4.2.2", True, False),
        (451, "", True, False),
        (550, "5.7.1", True, False),
        (250, "2.0.0", True, False),
    ],
)
def test_which_replies_speak_of_load(code: int, status: str, at_mail: bool, load: bool) -> None:
    assert speaks_of_load(reply(code, "text", status=status), before_recipients=at_mail) is load


def test_the_dead_are_left_alone_for_half_of_what_mail_waits_and_then_tried() -> None:
    dead = DeadHosts((timedelta(minutes=5), timedelta(minutes=15), timedelta(hours=4)))
    dead.found_dead("b", VERDICT, 0.0)
    death = dead.death("b", 149.0)
    assert death is not None
    assert death.verdict is VERDICT
    assert dead.death("b", 150.0) is None
    dead.found_dead("b", VERDICT, 300.0)
    assert dead.death("b", 300.0 + 449.0) is not None
    dead.found_dead("b", VERDICT, 1200.0)
    assert dead.death("b", 1200.0 + DEAD_MAX_S - 1) is not None
    assert dead.death("b", 1200.0 + DEAD_MAX_S) is None
    dead.is_alive("b")
    dead.found_dead("b", VERDICT, 3000.0)
    assert dead.death("b", 3150.0) is None


def test_of_the_dead_only_so_many_are_remembered_the_latest() -> None:
    dead = DeadHosts((timedelta(minutes=5),), most=3)
    for name in "abcd":
        dead.found_dead(name, VERDICT, 0.0)
    assert [dead.death(name, 1.0) is None for name in "abcd"] == [True, False, False, False]
    dead.forget()
    assert len(dead) == 0


def test_we_are_cut_off_when_several_miss_in_a_row_and_nobody_is_heard() -> None:
    it = Reachability()
    mark = it.mark(0)
    told = [it.missed(f"d{number}", mark, 0) for number in range(OFFLINE_HOSTS)]
    assert told == [False] * (OFFLINE_HOSTS - 1) + [True]
    assert [it.is_lost, it.reached()] == [True, True]
    assert [it.is_lost, it.reached()] == [False, False]


def test_one_that_misses_again_and_again_is_dead_and_we_are_not_cut_off() -> None:
    it = Reachability()
    assert not any(it.missed("d", it.mark(0), 0) for _ in range(100))


def test_an_answer_on_an_open_connection_shows_that_we_are_on_line() -> None:
    it = Reachability()
    began = it.mark(7)
    assert not any(it.missed(f"d{number}", began, 8) for number in range(100))
    for number in range(100):
        assert not it.missed(f"d{number}", it.mark(number), number)
