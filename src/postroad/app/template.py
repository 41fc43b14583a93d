"""The commented configuration that `postroad init` writes: every key at its default, made from the models.

So it cannot be out of date: a key's comment is its description, its value the default in force.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeGuard

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from postroad.app.configuration import Configuration
from postroad.app.effective import toml_string, toml_value

_HEAD = """\
# The configuration of Postroad. Only `hostname` must be given; a line with a # before its key shows the
# default. `postroad check` says what is wrong, `postroad config show` what is in force; `serve` reads the
# file when it starts and on SIGHUP. Durations are "30s", "5m", "4h", "5d"; paths are meant from this folder.
"""
_ROUTE = """
# ---- Exceptions from MX: the first that fits a domain wins. `tls` is "none", "opportunistic" or "verified"; mail
# that requires TLS (RFC 8689) goes only where it is "verified". `rate` is in messages a minute and takes the
# place of destination_rate; 0 is no limit. Any number of these:
#[[route]]
#domain = "*.corp"
#to = "mail.corp:25"
#tls = "opportunistic"
#rate = 60
"""
_HOLD = """
# ---- Mail that waits here until its owner fetches it by ETRN, ATRN or TURN. Any number of these:
#[[hold]]
#domain = "dialup.example"
#owner = "dialup@example.org"
#keep = "30d"
"""
_PICKUP = """
# ---- Our own mail that waits elsewhere: `postroad pickup`. Any number of these; method is one of
# "etrn"  the server sends `domains` to us, by their MX
# "atrn"  over our own connection, port 366: `domains`, or all that are ours there
# "turn"  the same the old way, port 25
# "pop3"  a maildrop, port 110 or 995: into the mailbox `deliver_to = "ann@example.org"`
# All but "etrn" need `user = "us@provider.example"` and `password_file = "provider.password"`; `tls` is "verified",
# "opportunistic" or "none". Without `every` it is done when it is asked for, and not by itself.
#[[pickup]]
#name = "provider"
#host = "mail.provider.example"
#method = "etrn"
#domains = ["example.org"]
#tls = "verified"
#every = "15m"
"""
_REPEATED = {"route": _ROUTE, "hold": _HOLD, "pickup": _PICKUP}


def commented(hostname: str, data: Path | str) -> str:
    """The whole file."""
    fields = Configuration.model_fields
    parts = [
        _HEAD,
        f"\n# {fields['hostname'].description}\nhostname = {toml_string(hostname)}\n",
        f"\n# {fields['data'].description}\ndata = {toml_string(str(data))}\n",
    ]
    for name, field in fields.items():
        section = field.annotation
        if name in _REPEATED:
            parts.append(_REPEATED[name])
        elif _is_section(section):
            parts.append(_section(name, section))
    return "".join(parts)


def _section(name: str, section: type[BaseModel]) -> str:
    keys = {key: field for key, field in section.model_fields.items() if _is_for_people(field)}
    if not keys:
        return ""
    lines = [f"\n# ---- {(section.__doc__ or '').strip()}\n[{name}]\n"]
    for key, field in keys.items():
        lines.append(f"# {field.description}\n#{key} = {toml_value(field.default)}\n")
    inner = [(key, field.annotation) for key, field in section.model_fields.items()]
    lines += [_section(f"{name}.{key}", kind) for key, kind in inner if _is_section(kind)]
    return "".join(lines)


def _is_section(kind: Any) -> TypeGuard[type[BaseModel]]:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _is_for_people(field: FieldInfo) -> bool:
    """Not sections of their own, and not what this version does not have."""
    extra: Any = field.json_schema_extra
    return bool(field.description) and not extra


_PAGE = """\
# The configuration

One TOML file says everything. It is found by `--config FILE`, by the variable `POSTROAD_CONFIG`, as
`./postroad.toml`, or as `/etc/postroad/postroad.toml`. `postroad init` writes the file below; a key without
its `#` overrides the default. An unknown key, a wrong type or a value out of range is named with file, line,
key and what was expected, and nothing starts.

```toml
{file}```
"""


def page() -> str:
    """docs/operating/configuration.md."""
    return _PAGE.format(file=commented("mx.example.org", "/var/lib/postroad"))


if __name__ == "__main__":
    print(page(), end="")
