"""Handing mail in over the local socket: what the server's answers mean for the program that called us."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from postroad.app.submission import submit
from postroad.services.operations.performer import OperationFailed, PlainObject
from postroad.vocabulary.reply import Reply, reply
from tests.support.peer import Peer, Temper

LETTER = b"From: ann@here.example\r\nSubject: x\r\n\r\nHello\r\n"
BOB, CAT = "bob@here.example", "cat@here.example"
FULL = reply(452, "Insufficient storage", status="4.3.1")
UNKNOWN = reply(550, "No such mailbox here", status="5.1.1")


def submitted(folder: Path, *recipients: str, **temper: Callable[..., Reply | Temper | None]) -> PlainObject:
    """What `submit` gives when the server has this temper: the fields of Peer that decide."""
    peer = Peer()
    for where, decide in temper.items():
        setattr(peer, where, decide)

    async def scene() -> PlainObject:
        path = folder / "submit.sock"
        server = await asyncio.get_running_loop().create_unix_server(peer.connection, path)
        async with server:
            return await asyncio.to_thread(submit, path, "mx.here.example", "ann@here.example", recipients, LETTER)

    return asyncio.run(scene())


def test_a_letter_that_was_taken_for_some_names_the_others(tmp_path: Path) -> None:
    result = submitted(tmp_path, BOB, CAT, on_recipient=lambda one: UNKNOWN if one.local_part == "cat" else None)
    assert result["refused"] == [{"recipient": CAT, "reply": "550 5.1.1 No such mailbox here"}]


def test_recipients_that_are_refused_for_good_are_named(tmp_path: Path) -> None:
    result = submitted(tmp_path, BOB, CAT, on_recipient=lambda one: UNKNOWN)
    assert result["queue_id"] == ""
    assert [refused["recipient"] for refused in result["refused"]] == [BOB, CAT]


@pytest.mark.parametrize(
    ("where", "answer", "status"),
    [
        ("on_sender", FULL, 75),
        ("on_recipient", FULL, 75),
        ("on_content", FULL, 75),
        ("on_content", reply(554, "Too many hops", status="5.4.6"), 69),
    ],
)
def test_a_letter_that_nobody_gets_tells_whether_to_try_again(
    tmp_path: Path, where: str, answer: Reply, status: int
) -> None:
    with pytest.raises(OperationFailed, match=answer.lines[0]) as failed:
        submitted(tmp_path, BOB, CAT, **{where: lambda _: answer})
    assert failed.value.exit_status == status


@pytest.mark.parametrize("where", ["on_sender", "on_recipient", "on_content"])
def test_a_server_that_goes_away_is_to_be_tried_again(tmp_path: Path, where: str) -> None:
    with pytest.raises(OperationFailed) as failed:
        submitted(tmp_path, BOB, **{where: lambda _: Temper.CUT})
    assert failed.value.exit_status == 75


def test_a_server_that_is_not_there_is_to_be_tried_again(tmp_path: Path) -> None:
    with pytest.raises(OperationFailed, match="the server is down") as failed:
        submit(tmp_path / "none.sock", "mx.here.example", "ann@here.example", (BOB,), LETTER)
    assert failed.value.exit_status == 75
