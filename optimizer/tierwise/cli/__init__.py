"""The command line: one file a command, loaded when it is called.

Nothing heavy may be imported here or at the top of a command's file: ``tierwise --help`` answers
in under 0.3 s.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any

import click

# What each command is for; the file of the same name has the rest.
COMMANDS = {
    "init": "Make a task's folder to begin with.",
    "plan": "What a job would buy and cost, before a single call.",
    "tune": "Tune prompt and strategy for each tier, and write a policy file for each.",
    "replay": "Rebuild a run's policies and summary from its pool alone.",
    "compare": "Tiers side by side: prompts, recipes, and what each component adds.",
    "report": "Write what a run found as one HTML file.",
    "run": "Answer one request the way a policy says.",
    "serve": "Serve policies over an OpenAI-compatible gateway.",
    "export": "Write a policy in another shape for serving.",
    "verify": "Re-score a policy with fresh samples: does it still hold?",
    "check": "Check a task, space, job, prompts or policy file.",
    "pool": "Look at stored completions, check and move them.",
}

INTERRUPTED = 130


class Lazy(click.Group):
    """A group whose commands are imported by name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The ``command`` in the file of that name."""
        if cmd_name not in COMMANDS:
            return None
        found: click.Command = importlib.import_module(f"tierwise.cli.{cmd_name}").command
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """From the table, so that help imports no command."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with the near names for one that is not there."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from tierwise.errors import unknown_name

            raise unknown_name("command", args[0], COMMANDS)
        return super().resolve_command(ctx, args)


@click.group(cls=Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="tierwise")
def cli() -> None:
    """Jointly tune the prompt and the inference strategy for each model tier.

    Begin with `tierwise tune`: it needs no key and no network.
    """


def main(args: Sequence[str] | None = None) -> Any:
    """Run the command line; errors that are meant for people leave no traceback."""
    from tierwise.errors import TierwiseError, printable

    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")  # arrays here are small: more threads only wait
    try:
        cli.main(args=None if args is None else list(args), standalone_mode=False)
    except TierwiseError as error:
        click.echo(f"{click.style('error:', fg='red')} {printable(str(error))}", err=True)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        with contextlib.suppress(OSError):  # nobody may be there to read it
            click.echo("interrupted", err=True)
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        # Somebody read as much as they wanted (``| head``).
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:
        if error.errno != errno.EIO or not isinstance(error.__context__, KeyboardInterrupt):
            raise
        sys.exit(INTERRUPTED)  # the terminal is gone, and click could not say so
