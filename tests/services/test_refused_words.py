"""Of what reception refuses the ledger keeps only a verb where a password could be in it (RFC 4954 section 9)."""

import base64
from pathlib import Path

import pytest

from postroad.vocabulary.listener import ListenerRole
from tests.services.houses import HERE, PASSWORD, Client, House, play

LETTERS = base64.b64encode(PASSWORD.encode()).decode()
PLAIN = base64.b64encode(f"\0ann@{HERE}\0{PASSWORD}".encode()).decode()
NAME = base64.b64encode(f"ann@{HERE}".encode()).decode()


async def _everything_was_refused(client: Client, lines: list[str | bytes]) -> None:
    for line in lines:
        client.send(line)
        reply = await client.reply()
        assert reply[:1] == "5", reply


@pytest.mark.parametrize("role", [ListenerRole.SMTP, ListenerRole.SUBMISSION, ListenerRole.SUBMISSIONS])
@pytest.mark.parametrize(
    "lines",
    [
        ["AUTH LOGIN-OF-OURS", NAME, LETTERS],
        ["AUTH", PLAIN],
        [f"AUTH XPLAIN {PLAIN}", PLAIN, LETTERS.rstrip("=")],
        [f"AUTH PLAIN {PLAIN} more", LETTERS],
        [f"AUTH\tPLAIN\t{PLAIN}"],
        [f"auth  plain x {PLAIN}", PASSWORD.partition(" ")[0]],
        [f"EHLO again\nAUTH PLAIN {PLAIN}".encode()],
        [f"EHLO again\rAUTH PLAIN {PLAIN}".encode()],
        [f"{LETTERS}\n{PLAIN}".encode()],
        [f"RSET {LETTERS}", f"STARTTLS {LETTERS}", f"HELP {LETTERS}"],
        [f"XCLIENT {PLAIN}", f"PASS {PASSWORD}", f"X-LOGIN {NAME} {LETTERS}"],
        ["AUTH PLAIN *", f"{NAME} {LETTERS}"],
    ],
)
def test_a_password_that_goes_on_after_a_refused_auth_is_in_no_note(
    tmp_path: Path, role: ListenerRole, lines: list[str | bytes]
) -> None:
    async def scene() -> None:
        async with House.open(tmp_path) as house, house.reception(), house.client(role) as client:
            await client.say("EHLO c.example", 250)
            await _everything_was_refused(client, lines)
            refusals = house.ledger.refusals()
            assert len(refusals) == len(lines)
            kept = repr(refusals).casefold()
            words = [PLAIN, LETTERS, LETTERS.rstrip("="), NAME, *PASSWORD.split()]
            assert [word for word in words if word.casefold() in kept] == []

    play(scene)


def test_a_refused_command_is_known_by_its_verb(tmp_path: Path) -> None:
    async def scene() -> None:
        async with House.open(tmp_path) as house, house.reception(), house.client() as client:
            await client.say("EHLO c.example", 250)
            await _everything_was_refused(client, ["RCPT TO:<a@@b>", "MAIL FROM:<a@@b>", "LOGIN ann horse", "QUIT now"])
            stages = [each.stage for each in house.ledger.refusals()]
            assert stages == ["RCPT", "MAIL FROM:<a@@b>", "LOGIN", "QUIT"]

    play(scene)
