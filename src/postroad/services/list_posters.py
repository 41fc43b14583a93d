"""Who may write to a list, asked of the directory: at the door, and once more for what came by way of an alias."""

from __future__ import annotations

from dataclasses import replace

from postroad.contracts.directory import Directory
from postroad.contracts.mailing_lists import ListDuty, MailingList
from postroad.rules.lists import judge_poster, names_of_poster
from postroad.rules.ruling import Ruling
from postroad.vocabulary.address import Mailbox, ReversePath
from postroad.vocabulary.reply import printable


def judge_posting(directory: Directory, to: MailingList, reverse_path: ReversePath) -> Ruling:
    """Raises StoreUnavailable. A refusal says whom to ask instead: the list's owners."""

    def is_member(poster: Mailbox) -> bool:
        return any(directory.lists.member(to.id, name) is not None for name in names_of_poster(poster))

    ruling = judge_poster(to, reverse_path, is_member)
    if ruling.reply is None:
        return ruling
    text = f"{ruling.reply.lines[0]}; its owners are at {printable(str(to.at(ListDuty.OWNER)))}"
    return Ruling(ruling.verdict, replace(ruling.reply, lines=(text,)))
