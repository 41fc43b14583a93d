"""Where the configuration is. Apart from its reading, because this part costs nothing to import."""

from __future__ import annotations

import os
from pathlib import Path

from postroad.app.errors import ConfigurationError

VARIABLE = "POSTROAD_CONFIG"
HERE = Path("postroad.toml")
SYSTEM = Path("/etc/postroad/postroad.toml")
DEFAULT_DATA = Path("/var/lib/postroad")


def find_configuration(explicit: str | Path | None = None) -> Path:
    """The file to read: the one named (`--config`), the one POSTROAD_CONFIG names, ./postroad.toml, the system's.

    A file that was named must be there, the others are tried in order. Raises ConfigurationError."""
    named = str(explicit) if explicit else os.environ.get(VARIABLE, "")
    if named:
        path = Path(named)
        if path.is_file():
            return path.absolute()
        origin = "--config" if explicit else VARIABLE
        raise ConfigurationError(f"{path}: no such file; {origin} names it as the configuration")
    for path in (HERE, SYSTEM):
        if path.is_file():
            return path.absolute()
    raise ConfigurationError(
        f"no configuration: neither ./{HERE} nor {SYSTEM} is there; "
        "`postroad init --domain example.org` makes one, --config FILE names another"
    )
