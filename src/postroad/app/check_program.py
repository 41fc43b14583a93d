"""For `postroad check`: can the user who is to serve run this program at all?

A virtual environment below somebody's home, or made by root with a strict umask, works for whoever made it; the
workers run as another user, and would end before they could say why.
"""

from __future__ import annotations

import pwd
import subprocess
import sys
from pathlib import Path

import postroad
from postroad.vocabulary.limits import CHECK_PROGRAM_S

_TRY = "import postroad.app.worker"


def trouble_for(user: str) -> str:
    """Why this user, who is not ourselves, cannot run a worker; empty where it can. Only root can find out."""
    entry = pwd.getpwnam(user)
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-c", _TRY],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=CHECK_PROGRAM_S,
            check=False,
            cwd="/",
            user=entry.pw_uid,
            group=entry.pw_gid,
            extra_groups=[],
        )
    except OSError as error:
        return f"{sys.executable}: {error.strerror}"
    except subprocess.TimeoutExpired:
        return f"{sys.executable} was not done within {CHECK_PROGRAM_S:g} s"
    if done.returncode == 0:
        return ""
    lines = done.stderr.decode(errors="replace").strip().splitlines()
    return f"{sys.executable}: {lines[-1] if lines else f'exit status {done.returncode}'}"


def places() -> str:
    """What the user must be able to read, and to enter."""
    return f"{sys.prefix} and {Path(postroad.__file__).parent}"
