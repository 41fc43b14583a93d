"""postroad init, serve, check, config, demo: the server itself."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from postroad.cli.house import House
from postroad.cli.output import json_option, safe, say_json, show
from postroad.cli.progress import Bar
from postroad.cli.story import told
from postroad.services.operations.performer import OperationFailed


@click.command()
@click.argument("folder", type=click.Path(path_type=Path), default=Path())
@click.option("--domain", required=True, help="The domain to receive mail for.")
@click.option("--hostname", default="", help="The name of this server; without it, mx.DOMAIN.")
@click.option("--password-stdin", is_flag=True, help="Read the first account's password from standard input.")
@click.pass_obj
def init(house: House, folder: Path, domain: str, hostname: str, password_stdin: bool) -> None:
    """Make a configuration, the data folder, a certificate and the first account (postmaster@DOMAIN)."""
    password = sys.stdin.readline().rstrip("\r\n") if password_stdin else ""
    for line in house.initialise(folder, domain, hostname or f"mx.{domain}", password):
        click.echo(line)


@click.command()
@click.option("--single-process", is_flag=True, help="All in one process and one loop.")
@click.option(
    "--development",
    type=click.Path(path_type=Path),
    help="Serve from this folder; at first use make a development configuration with two accounts in it.",
)
@click.option("--debug", is_flag=True, help="Print tracebacks of unexpected errors.")
@click.pass_obj
def serve(house: House, single_process: bool, development: Path | None, debug: bool) -> None:
    """Run until SIGTERM or Ctrl-C. SIGHUP reads the configuration again."""
    sys.exit(house.serve(single_process=single_process, development=development, debug=debug))


@click.command()
@click.option("--deep", is_flag=True, help="Read every database, and compare rows and content files.")
@json_option
@click.pass_obj
def check(house: House, deep: bool, as_json: bool) -> None:
    """Check the configuration, files, ports and certificate: what to fix, line by line.

    With --deep also whether every database is sound, every message has its content and all content its message: that
    reads everything, changes nothing, and may be done while the server runs. Exit status 1 if there is anything to
    fix."""
    findings = house.check()
    if deep:
        with Bar(quiet=as_json) as bar:
            findings += house.deep_check(bar.show)
    for finding in findings:
        if as_json:
            say_json(finding)
            continue
        click.secho("ok  " if finding["ok"] else "FIX ", fg="green" if finding["ok"] else "red", nl=False)
        click.echo(safe(f"{finding['what']}: {finding['finding']}"))
        if not finding["ok"] and finding["cure"]:
            click.echo(f"      {finding['cure']}")
    if not all(finding["ok"] for finding in findings):
        sys.exit(1)


@click.group()
def config() -> None:
    """The configuration."""


@config.command("show")
@click.option("--defaults", is_flag=True, help="Show every value, also those that are defaults.")
@json_option
@click.pass_obj
def config_show(house: House, defaults: bool, as_json: bool) -> None:
    """Show the values in force, each with where it comes from."""
    columns = (
        ("KEY", lambda v: v["key"]),
        ("VALUE", lambda v: v["value"]),
        ("FROM", lambda v: v["source"]),
    )
    show(house.effective(defaults=defaults), as_json, columns)


@click.command()
@click.pass_obj
def demo(house: House) -> None:
    """A small internet on this machine: DNS and two servers on 127.0.0.x, letters between them, every line shown.

    Needs no rights and no configuration, takes under 20 s, and ends with exit status 0 only if every letter arrived."""
    status = house.demo(click.echo, told)
    if status:
        raise OperationFailed("not every letter arrived where it should", status)
