"""`mlx-wan`: joins the commands and turns every failure into one line, a hint and an exit code."""

import json
import sys
from typing import Annotated

import typer

from mlx_wan import __version__
from mlx_wan.errors import MlxWanError

from .convert import convert
from .doctor import doctor
from .generate import generate
from .plan import plan

app = typer.Typer(
    name="mlx-wan",
    help="Finished video on your own Mac, with open video models running natively in MLX.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _command in (generate, plan, convert, doctor):
    app.command()(_command)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"mlx-wan {__version__}")
        raise typer.Exit()


@app.callback()
def _global_options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Finished video on your own Mac, with open video models running natively in MLX."""


def main() -> None:
    """Run the command line; exit 0 done, 1 failed, 2 misused, 130 interrupted."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """The exit code of `mlx-wan ARGUMENTS`; errors are printed, never raised."""
    wants_json = "--json" in arguments
    try:
        code = app(args=arguments, standalone_mode=False)
        if code == 130:  # how Typer passes on a KeyboardInterrupt
            raise KeyboardInterrupt
        return code if isinstance(code, int) else 0
    except MlxWanError as error:
        return _fail(error.message, error.hint, error.exit_code, wants_json)
    except typer.exceptions.TyperException as error:
        return _fail(_usage_message(error), _usage_hint(error), error.exit_code, wants_json)
    except (KeyboardInterrupt, typer.Abort):
        return _fail("interrupted", None, 130, wants_json)
    except BrokenPipeError:
        sys.stdout = None  # type: ignore[assignment]  # nobody reads it any more
        return 1
    except MemoryError:
        return _fail("memory ran out", "try a smaller size or fewer frames", 1, wants_json)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _fail(f"{where}{error.strerror or error}", None, 1, wants_json)


def _fail(message: str, hint: str | None, code: int, as_json: bool) -> int:
    print(f"error: {message}", file=sys.stderr)
    if hint:
        print(f"hint: {hint}", file=sys.stderr)
    if as_json:
        print(json.dumps({"ok": False, "error": message, "hint": hint, "exit_code": code}))
    return code


def _usage_message(error: typer.exceptions.TyperException) -> str:
    return " ".join(error.format_message().split()).rstrip(".")


def _usage_hint(error: typer.exceptions.TyperException) -> str:
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "mlx-wan"
    return f"see `{command} --help`"
