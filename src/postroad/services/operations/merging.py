"""`postroad send --merge`: one letter for each line of a table, checked as a whole before the first is handed in."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

import msgspec

from postroad.message.compose import Attachment, Composed
from postroad.message.merge import MergeLetter, Wording
from postroad.message.merge_table import Problem, Row, read_table
from postroad.services.operations.arguments import address
from postroad.services.operations.performer import OperationFailed

_ADDRESS_COLUMNS = ("email", "e-mail", "address", "mail", "to")


class Planned(msgspec.Struct, frozen=True):
    """One letter to be. `key` is the address as it is compared."""

    line: int
    address: str
    key: str
    row: Row


class Plan(msgspec.Struct, frozen=True):
    """`problems` are (line, what is wrong with it), of lines that have no letter."""

    letter: MergeLetter
    letters: tuple[Planned, ...]
    problems: tuple[tuple[int, str], ...]
    fingerprint: str
    """Of the wording: another letter has another one."""

    def write(self, planned: Planned, job: str) -> Composed:
        """The letter, with a Message-ID that is the same each time it is written in this job. Raises
        OperationFailed."""
        try:
            return self.letter.write(planned.row.values, self.message_id(planned, job))
        except ValueError as error:
            raise OperationFailed(f"line {planned.line}: {error}", 65) from None

    def message_id(self, planned: Planned, job: str) -> str:
        return message_id(job, planned.key, self.letter.wording.from_)


def plan(  # noqa: PLR0913  what a letter is made of
    table: bytes,
    *,
    encoding: str,
    sender: str,
    to: str,
    subject: str,
    text: str,
    html: str = "",
    attachments: Sequence[tuple[str, bytes]] = (),
    list_unsubscribe: str = "",
) -> Plan:
    """Read the table and write every letter once to see that it can be. Raises OperationFailed 65 where the table is
    useless as a whole, 2 where the letter is."""
    try:
        people = read_table(table, encoding)
    except ValueError as error:
        raise OperationFailed(f"the table cannot be used: {error}", 65) from None
    wording = Wording(
        from_=sender,
        to=to or _address_gap(people.columns),
        subject=subject,
        text=text,
        html=html,
        attachments=tuple(Attachment(name, octets) for name, octets in attachments),
        list_unsubscribe=list_unsubscribe,
    )
    try:
        letter = MergeLetter(wording, people.columns)
    except ValueError as error:
        raise OperationFailed(str(error), 2) from None
    letters: dict[str, Planned] = {}
    problems = list(people.problems)
    for row in people.rows:
        try:
            mailbox = address(letter.address(row.values))
            present = letters.get(mailbox.key())
            if present is not None:
                raise ValueError(f"{mailbox} is on line {present.line} already")
            letter.write(row.values, with_attachments=False)
        except (ValueError, OperationFailed) as error:
            problems.append(Problem(row.line, str(error)))
        else:
            letters[mailbox.key()] = Planned(row.line, str(mailbox), mailbox.key(), row)
    told = tuple((problem.line, problem.text) for problem in sorted(problems, key=lambda problem: problem.line))
    return Plan(letter, tuple(letters.values()), told, _fingerprint(wording))


def message_id(job: str, key: str, sender: str) -> str:
    """The same for the same address in the same job: by it the ledger knows whether the letter was taken."""
    domain = sender.rpartition("@")[2].strip(" >") or "localhost"
    return f"<{job}.{blake2b(key.encode(), digest_size=8).hexdigest()}@{domain}>"


def _address_gap(columns: tuple[str, ...]) -> str:
    for name in _ADDRESS_COLUMNS:
        for column in columns:
            if column.casefold() == name:
                return f"{{{column}}}"
    raise OperationFailed(
        f"which column holds the address? There are {', '.join(columns)}; say it with --to, or call one email",
        65,
    )


def _fingerprint(wording: Wording) -> str:
    return blake2b(msgspec.msgpack.encode(wording), digest_size=16).hexdigest()
