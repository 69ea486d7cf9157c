"""`mlx-wan convert`: a published checkpoint into our folder, once; or check such a folder again."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from mlx_wan.errors import BadFileError, UsageError

from . import options as o
from .transfer import transfer_progress

_VERIFY = "Check this converted folder: hashes, tensors, nothing missing or added."


def convert(
    source: Annotated[
        str | None,
        typer.Argument(
            help="A folder or file with a published checkpoint of Wan, Mochi or HunyuanVideo 1.5, "
            "or a hub id such as Wan-AI/Wan2.2-T2V-A14B, which is then downloaded."
        ),
    ] = None,
    dest: Annotated[Path | None, typer.Argument(help="The folder to make; it must be new.")] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="The model it is: of several in one folder, or of distilled ones with the same "
            "tensors where no folder or file is named like the model."
        ),
    ] = None,
    dtype: Annotated[
        str, typer.Option(help="How weights are stored: bf16, fp16 or fp32.")
    ] = "bf16",
    quantize: Annotated[
        int | None, typer.Option(help="Attention and feed-forward in 8, 6 or 4 bits.")
    ] = None,
    group_size: Annotated[
        int, typer.Option(help="Weights that share a scale when quantised: 32, 64 or 128.")
    ] = 64,
    verify: Annotated[Path | None, typer.Option(metavar="DEST", help=_VERIFY)] = None,
    as_json: o.Json = False,
) -> None:
    """Convert a published checkpoint once, for fast and strict loading.

    Reads the original, diffusers and ComfyUI layouts, and mlx-video's of Wan.
    Give one folder with all parts below it: transformer, VAE, text encoders and
    their tokenizer (spiece.model; tokenizer.json for HunyuanVideo), and for its
    image to video the image encoder. To fetch them all:
    `mlx-wan models download ID --convert`.

    An interrupted conversion goes on where it stopped when the same command is
    given again.
    """
    if verify is not None:
        if source is not None:
            raise UsageError("--verify takes the converted folder and nothing else")
        _verify(verify, as_json)
        return
    if source is None or dest is None:
        raise UsageError("convert needs a source and a destination", "see `mlx-wan convert --help`")
    from mlx_wan.convert import convert as run

    try:
        with transfer_progress() as report:
            made = run(
                source,
                dest,
                model=model,
                dtype=dtype,
                quantize=quantize,
                group_size=group_size,
                progress=report,
            )
    except KeyboardInterrupt:
        print("note: the same command goes on where it stopped", file=sys.stderr)
        raise
    if as_json:
        config = json.loads((made / "config.json").read_text())
        print(json.dumps({"ok": True, "path": str(made), "model": config["model"]}))
    else:
        print(made)


def _verify(folder: Path, as_json: bool) -> None:
    from mlx_wan.convert import verify

    with transfer_progress() as report:
        problems = verify(folder, report)
    if problems and not as_json:
        print("\n".join(problems))
    if problems:
        raise BadFileError(
            f"{folder} is damaged: {len(problems)} of its files are wrong", "convert it again"
        )
    if as_json:
        print(json.dumps({"ok": True, "path": str(folder)}))
    else:
        print(f"{folder} is whole")
