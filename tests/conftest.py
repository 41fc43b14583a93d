"""What all tests share: foreign programs to test against, and the settings of hypothesis.

A test that needs a foreign program says which:

    @pytest.mark.peer("postfix", "swaks")
    def test_postfix_relays_to_us(peer_program: PeerProgram) -> None:
        run([peer_program("postfix"), ...])

It is skipped, and counted at the end, where one of them is missing. With POSTROAD_PEERS_REQUIRED=1
no test marked so may be skipped, for whatever reason: that is a failure.
"""

import dataclasses
import os
import shutil
from collections import Counter
from collections.abc import Callable, Generator
from pathlib import Path

import pytest
from hypothesis import settings

PEERS_REQUIRED = os.environ.get("POSTROAD_PEERS_REQUIRED") == "1"
ROOT = Path(__file__).resolve().parent.parent
# Daemons live in sbin, which is not on everybody's PATH; exim and OpenSMTPD are unpacked beside the tree
# because their packages and that of postfix exclude each other.
PEER_PATH = os.pathsep.join(
    [
        os.environ.get("PATH", ""),
        "/usr/local/sbin",
        "/usr/sbin",
        "/sbin",
        str(ROOT / ".peers" / "exim4" / "usr" / "sbin"),
        str(ROOT / ".peers" / "opensmtpd" / "usr" / "sbin"),
    ]
)

# No programs, but packages of other languages; `.ci/peers` puts them there.
PEER_PACKAGES = {"nodemailer": ROOT / ".peers" / "node" / "node_modules" / "nodemailer"}

PeerProgram = Callable[[str], Path]

settings.register_profile("postroad", deadline=None, print_blob=True)
settings.load_profile("postroad")


def find_peer(name: str) -> Path | None:
    """Where the program is, or None when this machine does not have it."""
    if name in PEER_PACKAGES:
        return PEER_PACKAGES[name] if PEER_PACKAGES[name].is_dir() else None
    found = shutil.which(name, path=PEER_PATH)
    return Path(found) if found else None


def peers_of(item: pytest.Item) -> list[str]:
    """The foreign programs a test has asked for, by marker."""
    return [str(name) for marker in item.iter_markers("peer") for name in marker.args]


@pytest.fixture
def peer_program() -> PeerProgram:
    """Give the path of a program named in the test's `peer` marker."""

    def locate(name: str) -> Path:
        path = find_peer(name)
        assert path is not None, f"{name} is not installed; name it in the test's `peer` marker"
        return path

    return locate


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let `xdist_group` mean something under `--dist loadgroup`: tests of a group run in one process, so that a
    module's server is started once. xdist 3.8 hands the group on in a field of the item that pytest 9.2 no longer
    reads, and then spreads the tests over all processes without a word."""
    if not config.getoption("loadgroup", default=False):
        return
    for item in items:
        groups = sorted({str(marker.args[0]) for marker in item.iter_markers("xdist_group")})
        suffix = f"@{'_'.join(groups)}" if groups else ""
        if not item.nodeid.endswith(suffix):
            name = item.nodeid.removeprefix(item.id.path + "::") + suffix
            item._id = dataclasses.replace(item.id, names=tuple(name.split("::")), params=None)
        assert item.nodeid.endswith(suffix), "this pytest knows its items by other names; groups are not kept"


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    missing = [name for name in peers_of(item) if find_peer(name) is None]
    if missing:
        item.user_properties.append(("missing_peers", " ".join(missing)))
        pytest.skip(f"peer not installed: {', '.join(missing)}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    expected = hasattr(report, "wasxfail")
    if PEERS_REQUIRED and report.skipped and not expected and item.get_closest_marker("peer"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longreprtext
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid}: a peer test may not be skipped here: {reason}"
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Count the skipped peer tests; under xdist this runs once, where all reports come together."""
    skipped = 0
    programs: Counter[str] = Counter()
    for report in terminalreporter.getreports("skipped"):
        missing = dict(report.user_properties).get("missing_peers")
        if missing:
            skipped += 1
            programs.update(str(missing).split())
    if skipped:
        counts = ", ".join(f"{name}: {count}" for name, count in programs.most_common())
        terminalreporter.write_line(
            f"peer tests skipped: {skipped} ({counts}); `make peers` installs them", yellow=True
        )
