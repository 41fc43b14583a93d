"""aiosmtpd as the smart host: everything for elsewhere goes through it, several domains in one transaction."""

from __future__ import annotations

from pathlib import Path

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.support.letters import letters
from tests.support.ports import free_port
from tests.support.server import running_server


class Keeper:
    """Keeps the envelopes that it is given."""

    def __init__(self) -> None:
        self.envelopes: list[Envelope] = []

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        self.envelopes.append(envelope)
        return "250 2.0.0 kept"


def test_aiosmtpd_takes_everything_as_the_smart_host(tmp_path: Path) -> None:
    keeper = Keeper()
    smart_host = Controller(keeper, hostname="127.0.0.1", port=free_port())
    smart_host.start()
    try:
        sections = f'[delivery]\nsmarthost = "127.0.0.1:{smart_host.port}"\nsmarthost_tls = "none"\n'
        with running_server(tmp_path, sections=sections) as ours:
            elsewhere = ("cat@there.example", "dan@yonder.example")
            ours.run("sendmail", "-f", "ann@here.example", *elsewhere, given=letters()["folded"])
            ours.wait_until_delivered()
    finally:
        smart_host.stop()
    (envelope,) = keeper.envelopes
    assert envelope.mail_from == "ann@here.example"
    assert tuple(envelope.rcpt_tos) == elsewhere
    assert isinstance(envelope.content, bytes)
    assert envelope.content.endswith(letters()["folded"])
