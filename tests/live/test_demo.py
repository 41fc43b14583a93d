"""The demonstration is what a newcomer runs first: it needs nothing, shows the conversation, and tells the truth."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.xdist_group("demo")


def test_the_demo_shows_the_whole_road_of_a_letter_within_twenty_seconds(tmp_path: Path) -> None:
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "postroad.cli", "demo"],
        cwd=tmp_path,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert time.monotonic() - began < 20
    for line in (
        "    S: 220 mx.recipient.example ESMTP Postroad",
        "    C: STARTTLS",
        "    C: RCPT TO:<bob@recipient.example>",
        "    S: 550 5.1.1 No such mailbox here",
        "    |   nobody@recipient.example",
        "Every letter arrived where it should.",
    ):
        assert line in done.stdout.splitlines(), done.stdout
    assert "the connection was refused" in done.stdout
    assert done.stderr == ""
    assert list(tmp_path.iterdir()) == []
