"""Where addresses lead, as the directory has it, for rules/expansion.py and rules/routing.py; and how that is told."""

from __future__ import annotations

from datetime import datetime

from postroad.contracts.directory import Alias, Directory
from postroad.contracts.mailing_lists import ListAddress, ListDuty
from postroad.rules.expansion import Expansion, Lead, LeadOf
from postroad.rules.routing import ListOf
from postroad.vocabulary.address import Mailbox
from postroad.vocabulary.story import Expanded


def leads_in(directory: Directory) -> LeadOf:
    """What is asked may raise StoreUnavailable."""

    def lead_of(address: Mailbox) -> Lead | None:
        if address.domain and directory.domain(address.domain) is None:
            return None  # of whom there may be thousands on a list
        found = directory.recipient(address)
        if found is None:
            return None
        if isinstance(found, ListAddress):
            # A list is expanded where it is delivered to, with a reverse-path of its own; its owners are an alias.
            return Lead(found.address, found.list_.responsible) if found.duty is ListDuty.OWNER else None
        if isinstance(found, Alias):
            return Lead(found.address, found.targets)
        # A disabled account takes no mail, and hands none on.
        if not found.forward_to or found.disabled:
            return None
        return Lead(found.address, found.forward_to, found.keeps_copy)

    return lead_of


def lists_in(directory: Directory) -> ListOf:
    """What is asked may raise StoreUnavailable."""

    def list_of(address: Mailbox) -> Mailbox | None:
        found = directory.recipient(address)
        return found.address if isinstance(found, ListAddress) and found.duty is not ListDuty.OWNER else None

    return list_of


def expanded_facts(expansion: Expansion, at: datetime) -> tuple[Expanded, ...]:
    return tuple(Expanded(at=at, address=str(each.address), to=tuple(map(str, each.to))) for each in expansion.followed)
