"""As many descriptors as the sessions need; where there are fewer, fewer sessions, and a word about it."""

import subprocess
import sys

import pytest

from postroad.vocabulary.limits import DESCRIPTORS_BESIDE

# In a process of its own: a limit that was lowered does not rise again. Raising the hard limit is root's right,
# and the last argument says whether this process acts as one without it.
PLAY = """
import os, resource, sys
from postroad.app.descriptors import sessions_that_fit
soft, hard, sessions, meek = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
if meek and os.geteuid() == 0:
    os.setresuid(65534, 65534, 65534)
print(sessions_that_fit(sessions, lambda text: print(text, file=sys.stderr)))
print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


def served(soft: int, hard: int, sessions: int, *, meek: bool = True) -> tuple[int, int, str]:
    """Sessions, the limit afterwards, and what was said."""
    command = [sys.executable, "-c", PLAY, str(soft), str(hard), str(sessions), str(int(meek))]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    fitting, limit = map(int, done.stdout.split())
    return fitting, limit, done.stderr


def test_the_limit_is_raised_as_far_as_the_sessions_need() -> None:
    assert served(100, 4000, 1500) == (1500, 1500 + DESCRIPTORS_BESIDE, "")


def test_a_limit_that_is_large_enough_stays_as_it_is() -> None:
    assert served(4000, 4000, 1500) == (1500, 4000, "")


@pytest.mark.parametrize(("hard", "fitting"), [(6000, 4000), (1000, 500)])
def test_fewer_descriptors_are_fewer_sessions_and_the_word_says_what_to_do(hard: int, fitting: int) -> None:
    sessions, limit, said = served(100, hard, 20_000)
    assert (sessions, limit) == (fitting, hard)
    assert f"{fitting} sessions are served" in said
    assert f"Raise the limit to {20_000 + DESCRIPTORS_BESIDE} (LimitNOFILE=" in said


def test_root_raises_the_hard_limit_too() -> None:
    if not _may_raise():
        pytest.skip("needs the rights of root")
    assert served(100, 1000, 1500, meek=False) == (1500, 1500 + DESCRIPTORS_BESIDE, "")


def _may_raise() -> bool:
    probe = "import resource as r; r.setrlimit(r.RLIMIT_NOFILE, (9, 9)); r.setrlimit(r.RLIMIT_NOFILE, (9, 10))"
    return subprocess.run([sys.executable, "-c", probe], capture_output=True, check=False).returncode == 0
