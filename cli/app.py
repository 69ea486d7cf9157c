"""The commands joined into one. Importing this takes most of the time `--help` needs."""

from typing import Annotated

import typer

from mlx_wan import __version__

from .batch import batch
from .bench import bench_app
from .brand import brand_app
from .convert import convert
from .cost import cost
from .doctor import doctor
from .generate import generate
from .library import library_app
from .linkedin import linkedin
from .models import models_app
from .plan import plan
from .youtube import youtube

app = typer.Typer(
    name="mlx-wan",
    help="Finished video on your own Mac, with open video models running natively in MLX.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _command in (generate, linkedin, youtube, batch, plan, cost, convert, doctor):
    app.command()(_command)
app.add_typer(models_app)
app.add_typer(library_app)
app.add_typer(brand_app)
app.add_typer(bench_app)


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
