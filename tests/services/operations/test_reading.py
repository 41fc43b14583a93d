"""An administrator looks into a mailbox, and it is written down: who, when, at what, and why."""

from __future__ import annotations

from pathlib import Path

from postroad.contracts.mailbox_store import Delivery
from postroad.services.operations.mailboxes import MailboxOperations
from postroad.vocabulary.queue_id import QueueId
from postroad.vocabulary.story import ReadByAdministrator
from tests.services.houses import HERE, House, play

ANN = f"ann@{HERE}"


def test_every_look_leaves_who_and_why(tmp_path: Path) -> None:
    async def scene() -> None:
        async with House.open(tmp_path) as house:
            uid = await house.mailboxes.deliver(
                Delivery(
                    account_id=house.ann.id,
                    key=f"000000000001/{ANN}",
                    queue_id=QueueId("000000000001"),
                    head=b"",
                    content=b"Subject: x\r\n\r\nx\r\n",
                    received_at=house.clock.now(),
                )
            )
            reading = MailboxOperations(
                directory=house.directory, mailboxes=house.mailboxes, ledger=house.ledger, clock=house.clock
            ).verbs()
            look = {"address": ANN, "by": "root", "reason": "complaint 17 " + "x" * 1000}
            assert len(await reading["mailbox.list"](look)) == 1
            assert len(await reading["mailbox.read"]({**look, "number": 1})) == 1
            facts = [fact for fact in house.ledger.facts() if isinstance(fact, ReadByAdministrator)]
            assert [(fact.account, fact.uid, fact.by, fact.at) for fact in facts] == [
                (ANN, 0, "root", house.clock.now()),
                (ANN, uid, "root", house.clock.now()),
            ]
            assert all(fact.reason.startswith("complaint 17 ") and len(fact.reason) == 500 for fact in facts)
            assert [entry.keys for entry in house.ledger.entries] == [(ANN,), ("000000000001", ANN)]

    play(scene)
