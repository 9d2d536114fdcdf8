"""What every command shares: the group, the common options, messages instead of tracebacks, exit statuses."""

from __future__ import annotations

import functools
import importlib
import json
import os
import sys
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from uplift.errors import InputError, UpliftError

F = TypeVar("F", bound=Callable[..., Any])


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called, so that ``--help`` answers at once.

    ``lazy`` maps a command's name to ``(module, attribute, one line of help)``.
    """

    def __init__(self, *args: Any, lazy: Mapping[str, tuple[str, str, str]] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._lazy = dict(lazy or {})

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Commands in the order in which they are used."""
        return [*self._lazy, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported now."""
        if cmd_name in self._lazy:
            module, attribute, _ = self._lazy[cmd_name]
            command = getattr(importlib.import_module(module), attribute)
            assert isinstance(command, click.Command)  # noqa: S101 - a mistake in our own table
            return command
        return super().get_command(ctx, cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """One line a command, without importing any."""
        if not self._lazy:
            super().format_commands(ctx, formatter)
            return
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, _, text) in self._lazy.items()])


def common_options(function: F) -> F:
    """``-C DIR`` (parameter ``workspace_dir``) and ``--json`` (parameter ``as_json``), and errors as messages.

    Both may stand before or after the command's name.
    """

    @click.option("-C", "workspace_dir", metavar="DIR", help="The workspace (default: the current folder).")
    @click.option("--json", "as_json", is_flag=True, help="Print one JSON object, for machines.")
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        root = click.get_current_context().find_root().params
        kwargs["workspace_dir"] = kwargs["workspace_dir"] or root.get("workspace_dir") or "."
        kwargs["as_json"] = kwargs["as_json"] or bool(root.get("as_json"))
        try:
            return function(*args, **kwargs)
        except UpliftError as error:
            fail(error, as_json=kwargs["as_json"])
        except Exception as error:  # the last line of defence: a person gets a message, a developer UPLIFT_DEBUG
            if os.environ.get("UPLIFT_DEBUG"):
                raise
            what = f"{type(error).__name__}: {error}"
            fail(UpliftError(f"internal failure, {what} (UPLIFT_DEBUG=1 shows where)"), as_json=kwargs["as_json"])

    return wrapper  # type: ignore[return-value]  # click's decorators keep the call signature


def fail(error: UpliftError, *, as_json: bool) -> None:
    """Print the message and leave with the error's exit status."""
    if as_json:
        problems = [p.to_dict() for p in getattr(error, "problems", ())]
        click.echo(json.dumps({"error": type(error).__name__, "message": str(error), "problems": problems}))
    click.secho(f"uplift: {error}", err=True, fg="red" if isinstance(error, InputError) else "yellow")
    sys.exit(error.exit_code)


def show(value: Mapping[str, Any], text: str, *, as_json: bool) -> None:
    """Print ``value`` as JSON for machines, or ``text`` for people."""
    click.echo(json.dumps(value, ensure_ascii=False, default=str) if as_json else text)


def progress(message: str) -> None:
    """A line about long work, to standard error."""
    click.secho(f"· {message}", err=True, dim=True)


def given_options(besides: Collection[str]) -> list[str]:
    """Options of the command as the user typed them, such as ``--metric``, but those of the parameters ``besides``."""
    context = click.get_current_context()
    return [
        param.opts[0]
        for param in context.command.params
        if isinstance(param, click.Option)
        and param.name not in besides
        and context.get_parameter_source(param.name or "") is ParameterSource.COMMANDLINE
    ]
