"""The command line as a whole. Commands are loaded when they are called: the program starts fast."""

from __future__ import annotations

import importlib
import sys
from keyword import iskeyword
from pathlib import Path

import click

from postroad import __version__
from postroad.services.operations.performer import OperationFailed

_COMMANDS = {
    "init": "server",
    "serve": "server",
    "check": "server",
    "config": "server",
    "demo": "server",
    "bench": "bench",
    "backup": "backup",
    "restore": "backup",
    "status": "status",
    "account": "account",
    "domain": "domain",
    "alias": "alias",
    "list": "mailing_list",
    "send": "send",
    "sendmail": "send",
    "suppression": "suppression",
    "read": "read",
    "import": "mail_files",
    "export": "mail_files",
    "queue": "queue",
    "offline": "offline",
    "explain": "explain",
    "trace": "trace",
    "archive": "archive",
    "pickup": "waiting",
    "watch": "waiting",
}


class Commands(click.Group):
    """Finds a command by name in its module, and imports no other."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        module = _COMMANDS.get(cmd_name)
        if module is None:
            return None
        # `import` is no name that Python takes, and `list` is taken.
        name = f"{cmd_name}_" if iskeyword(cmd_name) or cmd_name == "list" else cmd_name
        command = getattr(importlib.import_module(f"postroad.cli.commands.{module}"), name)
        assert isinstance(command, click.Command)
        return command


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="postroad")
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    help="The configuration; without it POSTROAD_CONFIG, ./postroad.toml, /etc/postroad/postroad.toml.",
)
@click.pass_context
def postroad(context: click.Context, config: Path | None) -> None:
    """Postroad: a complete internet mail system."""
    context.obj = context.obj(config)


def run(command: click.Command, house_for: object, arguments: list[str] | None = None) -> int:
    """Run a command line; the exit status. Errors are one line on standard error, never a traceback."""
    try:
        command.main(args=arguments, obj=house_for, standalone_mode=False)
    except OperationFailed as failed:
        click.echo(f"postroad: {failed}", err=True)
        return failed.exit_status
    except click.ClickException as error:
        error.show()
        return 2
    except click.Abort:
        return 130
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    except SystemExit as end:
        return int(end.code or 0)
    return 0
