"""`mlx-wan brand`: who signs the videos; a file to edit, a look at it."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from .options import Json

brand_app = typer.Typer(
    name="brand",
    help="Your name and colours on every video: write, check and look at the brand file.",
    no_args_is_help=True,
)

File = Annotated[
    Path | None, typer.Option("--brand", help="A brand file. Default: MLX_WAN_HOME/brand.toml.")
]


@brand_app.command()
def init(
    path: Annotated[
        Path | None, typer.Argument(help="Where to. Default: MLX_WAN_HOME/brand.toml.")
    ] = None,
) -> None:
    """Write a brand file with every setting explained, to be edited. Replaces nothing."""
    from mlx_wan.home import expanded
    from mlx_wan.studio.brand import brand_path, write_template

    print(write_template(expanded(path) if path else brand_path()))
    print("edit it, then look at it with `mlx-wan brand preview`", file=sys.stderr)


@brand_app.command()
def show(file: File = None, as_json: Json = False) -> None:
    """Print the brand that videos get, after checking it and its files."""
    from mlx_wan.studio.brand import brand_path, check_files, load_brand

    found = load_brand(file)
    check_files(found)
    if as_json:
        print(json.dumps(found.to_dict(), ensure_ascii=False))
        return
    for name, value in found.to_dict().items():
        print(f"{name:<11} {'none' if value is None else value}")
    if file is None and not brand_path().exists():
        print("the default; `mlx-wan brand init` writes a file to edit", file=sys.stderr)


@brand_app.command()
def preview(
    file: File = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The folder for the pictures.")
    ] = Path(),
) -> None:
    """Write a PNG of each format with the brand and sample text."""
    from mlx_wan.home import expanded
    from mlx_wan.studio.brand import load_brand
    from mlx_wan.studio.brand_preview import write_previews

    for path in write_previews(load_brand(file), expanded(output)):
        print(path)
