"""`postroad check` where the user who is to serve cannot run what root has installed."""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from pathlib import Path

import pytest

import postroad
from postroad.app import check_program

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can find out")


def test_a_python_that_the_user_may_not_run_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = tmp_path / "python"
    shutil.copy("/usr/bin/true", python)
    tmp_path.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(python))
    assert check_program.trouble_for("nobody") == f"{python}: Permission denied"


def test_a_package_that_the_user_cannot_read_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/usr/bin/python3")
    monkeypatch.setenv("PYTHONPATH", "/nonexistent")
    assert "No module named 'postroad'" in check_program.trouble_for("nobody")


def test_a_user_who_can_run_it_is_no_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ourselves can; who else can depends on where the tests are."""
    folders = [str(Path(postroad.__file__).parent.parent), sysconfig.get_path("purelib")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(folders))
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    assert check_program.trouble_for("root") == ""
