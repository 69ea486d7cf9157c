"""`mlx-wan`: runs a command and turns every failure into one line, a hint and an exit code.

The commands are imported by `run`, so that Ctrl-C means the same from the first moment on.
"""

import json
import os
import signal
import sys
import warnings
from contextlib import suppress
from typing import Any, NoReturn

from mlx_wan.errors import MlxWanError

# MLX raises RuntimeError with these in it when Metal is out of memory or a command took too long
_GPU_GAVE_UP = ("[metal", "[malloc", "kiogpu")
_SMALLER = "try a smaller size or fewer frames; `mlx-wan plan` says what they need"


def main() -> NoReturn:
    """Run the command line; exit 0 done, 1 failed, 2 misused, 130 interrupted."""
    _obey_signals()
    _mend_streams()
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # messages of ours and nobody else's
    code = run(sys.argv[1:])
    try:
        sys.stdout.flush()
    except OSError as error:  # nobody reads it, or its disk is full
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115
        code = code or _fail(f"the output cannot be written: {error.strerror}", None, 1, False)
    sys.exit(code)


def run(arguments: list[str]) -> int:
    """The exit code of `mlx-wan ARGUMENTS`; errors are printed, never raised."""
    wants_json = "--json" in arguments
    try:
        return _run(arguments, wants_json)
    except MlxWanError as error:
        return _fail(error.message, error.hint, error.exit_code, wants_json)
    except KeyboardInterrupt:
        return _fail("interrupted", None, 130, wants_json)
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115  # nobody reads it any more
        return 1
    except MemoryError:
        return _fail("memory ran out", _SMALLER, 1, wants_json)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _fail(f"{where}{error.strerror or error}", None, 1, wants_json)
    except Exception as error:
        if any(sign in str(error).lower() for sign in _GPU_GAVE_UP):
            return _fail(f"the GPU gave up: {error}", _SMALLER, 1, wants_json)
        if os.environ.get("MLX_WAN_TRACEBACK"):
            raise
        return _fail(
            f"a mistake of mlx-wan itself: {type(error).__name__}: {error}",
            "MLX_WAN_TRACEBACK=1 shows where; please report it",
            1,
            wants_json,
        )


def _run(arguments: list[str], wants_json: bool) -> int:
    import typer

    from .app import app

    try:
        code = app(args=arguments, standalone_mode=False)
    except typer.exceptions.TyperException as error:
        if not error.format_message():  # the help was shown instead
            return error.exit_code
        return _fail(_usage_message(error), _usage_hint(error), error.exit_code, wants_json)
    except typer.Abort:
        raise KeyboardInterrupt from None
    if code == 130:  # how Typer passes on a KeyboardInterrupt
        raise KeyboardInterrupt
    return code if isinstance(code, int) else 0


def _obey_signals() -> None:
    """`kill` and a closed terminal stop a run as Ctrl-C does, which cleans up behind it."""
    for name in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(name) is signal.SIG_DFL:  # nohup has it ignored
            signal.signal(name, signal.default_int_handler)


def _mend_streams() -> None:
    """Closed streams lead to nowhere, and characters a terminal lacks are spelled out."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:  # or our files would get these numbers
        pass
    os.close(number)
    for name, errors in (
        ("stdin", "surrogateescape"),  # refused later, in our words
        ("stdout", "backslashreplace"),
        ("stderr", "backslashreplace"),
    ):
        stream: Any = getattr(sys, name)
        if stream is None:
            mode = "r" if name == "stdin" else "w"
            setattr(sys, name, open(os.devnull, mode))  # noqa: PTH123, SIM115
        else:
            stream.reconfigure(errors=errors)


def _fail(message: str, hint: str | None, code: int, as_json: bool) -> int:
    with suppress(OSError):  # the exit code still tells
        print(f"error: {_one_line(message)}", file=sys.stderr)
        if hint:
            print(f"hint: {_one_line(hint)}", file=sys.stderr)
        if as_json:
            print(json.dumps({"ok": False, "error": message, "hint": hint, "exit_code": code}))
    return code


def _one_line(text: str) -> str:
    """No line breaks or terminal codes, which prompts, paths and files may contain."""
    line = " ".join(text.split())
    if len(line) > 1000:
        line = f"{line[:600]} ... {line[-200:]}"
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)


def _usage_message(error: Any) -> str:
    return error.format_message().rstrip(". ")


def _usage_hint(error: Any) -> str:
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "mlx-wan"
    if "unexpected extra argument" in error.format_message() and context is not None:
        text = [p.name for p in context.command.params if p.name in ("prompt", "topic")]
        if text:
            return f'put the {text[0]} in quotes: {command} "a red fox in the snow"'
    return f"see `{command} --help`"
