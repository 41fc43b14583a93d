"""A name and a password: whose are they? For SMTP AUTH (RFC 4954) and POP3 alike.

An unknown name, a disabled account and a wrong password take the same time and get the same answer.
"""

from __future__ import annotations

from postroad.contracts.directory import Account, Directory
from postroad.contracts.passwords import Passwords
from postroad.vocabulary.address import Mailbox
from postroad.vocabulary.limits import PASSWORD_BYTES, PATH_BYTES


class Authentication:
    def __init__(self, *, directory: Directory, passwords: Passwords) -> None:
        self._directory = directory
        self._passwords = passwords

    async def check(self, name: str, password: str, authorization_id: str = "") -> Account | None:
        """The account that logs in, or None.

        `name` is the account's whole address; `authorization_id`, when given, must be the same account's
        (RFC 4616 section 2: nobody here may act for another). Raises Busy when too many checks wait,
        StoreUnavailable when the directory cannot be read: neither says anything about the password.
        """
        account = self._find(name)
        stored = account.password if account is not None and not account.disabled else ""
        # What is too long, empty, or holds NUL cannot be right; the same work is done for it on other octets.
        if not 0 < len(password.encode("utf-8", "surrogatepass")) <= PASSWORD_BYTES or "\0" in password:
            stored, password = "", "-"
        right = await self._passwords.verify(name[:PATH_BYTES], stored, password)
        if not right or account is None:
            return None
        if authorization_id and self._find(authorization_id) != account:
            return None
        return account

    def _find(self, name: str) -> Account | None:
        local_part, at, domain = name.strip().rpartition("@")
        if not at or not local_part or not domain or len(name) > PATH_BYTES:
            return None
        account = self._directory.account(Mailbox(local_part, domain.lower()))
        # `postmaster` leads to another account than its own: good for receiving mail, not for a login.
        if account is None or account.address.local_part.lower() != local_part.lower():
            return None
        return account
