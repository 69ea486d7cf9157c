"""Puts weights into the package: converts a checkpoint and replaces what is in assets/wan-mini.

python -m mlx_wan.bench.mini.ship SOURCE       SOURCE is what `export` wrote, or a training run

The same weights give the same bytes. The model card and the contact sheet stay as they are; make
the sheet again with `sheet`, and quote `evaluate` in the card.
"""

import argparse
import shutil
from contextlib import chdir
from pathlib import Path
from tempfile import TemporaryDirectory

from mlx_wan.convert import convert, verify
from mlx_wan.loading import embedded_model
from mlx_wan.presets import EMBEDDED

MAX_BYTES = 12_000_000
KEPT = ("README.md", "contact-sheet.jpg")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path, help="checkpoint folder, or the folder of a run")
    parser.add_argument("--dest", type=Path, default=embedded_model())
    args = parser.parse_args()
    ship(args.source, args.dest)
    size = folder_size(args.dest)
    print(f"{args.dest}: {size:,} bytes")
    if size > MAX_BYTES:
        raise SystemExit(f"more than the {MAX_BYTES:,} bytes that may ship")


def ship(source: Path, dest: Path) -> None:
    """Convert into `dest` in float16, replacing the weights there."""
    with TemporaryDirectory(dir=dest.parent) as temporary:
        work = Path(temporary)
        if (source / "checkpoint.pt").is_file():
            export_run(source, work / EMBEDDED)
        else:
            shutil.copytree(source, work / EMBEDDED)
        with chdir(work):  # config.json names the source: not a path of this machine
            convert(EMBEDDED, "converted", model=EMBEDDED, dtype="fp16")
        if problems := verify(work / "converted"):
            raise SystemExit("\n".join(problems))
        for name in KEPT:
            if (dest / name).is_file():
                shutil.copyfile(dest / name, work / "converted" / name)
        if dest.exists():
            dest.rename(work / "replaced")
        (work / "converted").rename(dest)


def export_run(run: Path, out: Path) -> None:
    """The newest checkpoint of a run, with the VAE and tokenizer that ship."""
    from .export import export
    from .original import write_original

    original = out.with_name("shipped")
    write_original(original)
    export(run, original, out)


def folder_size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


if __name__ == "__main__":
    main()
