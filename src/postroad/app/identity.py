"""Whose rights a process has: root binds the ports, somebody else serves."""

from __future__ import annotations

import ctypes
import os
import pwd
from pathlib import Path

from postroad.app.errors import CannotServe

_PR_SET_NO_NEW_PRIVS = 38
ROOT = "root"


def drop_to(user: str) -> None:
    """Become `user` for good, with the user's groups. Nothing happens where we are that user already.

    Raises CannotServe: no such user, or we are neither root nor that user."""
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise CannotServe(
            f'processes.user: there is no user "{user}" on this machine; make one (adduser --system)'
        ) from None
    if os.geteuid() == entry.pw_uid:
        return
    if os.geteuid() != 0:
        mine = pwd.getpwuid(os.geteuid()).pw_name
        raise CannotServe(f'processes.user is "{user}", but this is {mine}: start as root, or as {user}')
    become(entry.pw_uid, entry.pw_gid, entry.pw_name)


def become(uid: int, gid: int, name: str) -> None:
    """From root to another user, irrevocably."""
    os.initgroups(name, gid)
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    assert os.getresuid() == (uid, uid, uid)


def become_owner_of(folder: Path) -> None:
    """As root: become the owner of the folder, so that whatever is made in it stays the server's.

    Nothing happens where we are not root, or root owns it."""
    if os.geteuid() != 0 or not folder.exists():
        return
    facts = folder.stat()
    if facts.st_uid:
        try:
            name = pwd.getpwuid(facts.st_uid).pw_name
        except KeyError:
            os.setgroups([])
            os.setresgid(facts.st_gid, facts.st_gid, facts.st_gid)
            os.setresuid(facts.st_uid, facts.st_uid, facts.st_uid)
            return
        become(facts.st_uid, facts.st_gid, name)


def forbid_new_privileges() -> None:
    """No program we could ever start gains rights by setuid. Where the kernel does not know it, nothing happens."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "prctl"):
        libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def serving_user(configured: str) -> str:
    """The user who is to serve: "" for whoever we are. Raises CannotServe for root that nobody named."""
    if configured or os.geteuid() != 0:
        return configured
    raise CannotServe(
        'started as root, and processes.user names nobody to serve as; expected processes.user = "postroad" or another '
        "user without rights (adduser --system --group postroad)",
        2,
    )
