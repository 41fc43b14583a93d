"""File descriptors: as many as the sessions need, or fewer sessions than the configuration asks for.

A server that runs out of them cannot accept, cannot open a mailbox and cannot write its ledger, and says so in errors
far from the cause. So the limit is raised at the start, and where that is not enough `sessions` is lowered, aloud.
"""

from __future__ import annotations

import resource
from collections.abc import Callable

from postroad.vocabulary.limits import DESCRIPTORS_BESIDE


def raise_limit(sessions: int) -> int:
    """Raise RLIMIT_NOFILE of this process, and of those it starts, as far as `sessions` needs and we may: with the
    rights of root above the hard limit too. Returns what it is now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = sessions + DESCRIPTORS_BESIDE
    for wanted, ceiling in ((needed, max(needed, hard)), (min(needed, hard), hard)):
        if soft >= wanted:
            break
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, ceiling))
        except (ValueError, OSError):
            continue  # above the hard limit without the right to, or above the system's own (fs.nr_open)
        break
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def sessions_that_fit(sessions: int, say: Callable[[str], None]) -> int:
    """`sessions`, or so many as this process gets descriptors for; then `say` is told what to do about it.

    Half of a very small limit is left for everything that is not a session.
    """
    limit = raise_limit(sessions)
    fitting = max(limit - DESCRIPTORS_BESIDE, limit // 2)
    if fitting >= sessions:
        return sessions
    say(
        f"limits.sessions is {sessions}, but this process may open {limit} files only: {fitting} sessions are served. "
        f"Raise the limit to {sessions + DESCRIPTORS_BESIDE} (LimitNOFILE= of systemd, or ulimit -n), or lower sessions"
    )
    return fitting
