"""The long part of a conversion: read, convert and write, each in its own thread.

One thread reads and hashes the sources, one converts with MLX, one writes and hashes the shards;
a few pieces of some megabytes are under way at a time, so memory stays far below a shard.
"""

from collections.abc import Generator, Iterator
from contextlib import closing
from itertools import groupby
from pathlib import Path
from typing import Any

from mlx_wan.events import Event, Report

from .digest import Digest
from .jobs import TensorJob
from .quantize import convert_piece
from .read import Piece, Ring, read_ahead, read_pieces
from .write import Journal, Shard, Writer


def write_shards(
    folder: Path, shards: list[Shard], files: tuple[Path, ...], journal: Journal, report: Report
) -> None:
    """Write those of `shards` into `folder` that the journal does not have yet.

    All of `files` are hashed on the way; those not hashed yet are read to their end even when
    nothing in them is left to convert.
    """
    todo = [shard for shard in shards if shard.path not in journal.shards]
    total = sum(job.info.nbytes for shard in todo for job in shard.jobs)
    done = 0
    with closing(read_ahead(_pieces_of(todo, files, journal))) as pieces:
        for shard in todo:
            (folder / shard.path).parent.mkdir(exist_ok=True)
            with closing(Writer(folder / shard.path)) as writer:
                writer.append(shard.header)
                for job in shard.jobs:
                    for nbytes in _write_tensor(job, pieces, writer):
                        done += nbytes
                        report(Event("convert", done, total, shard.path))
                digest = writer.finish()
            journal.shards[shard.path] = {"size": shard.nbytes, "sha256": digest}
            journal.save()
        assert next(pieces, None) is None  # runs on to the hash of the last file
    journal.save()


def _write_tensor(job: TensorJob, pieces: Iterator[Piece], writer: Writer) -> Iterator[int]:
    """Yields the number of source bytes done after each piece."""
    scales: list[Any] = []  # they and the biases follow all of the codes
    biases: list[Any] = []
    for piece in pieces:
        assert piece.job is job
        data, *more = convert_piece(piece)
        writer.append(data)
        if more:
            scales.append(more[0])
            biases.append(more[1])
        yield piece.data.nbytes
        if piece.last:
            break
    for part in (*scales, *biases):
        writer.append(part)


def _pieces_of(
    shards: list[Shard], files: tuple[Path, ...], journal: Journal
) -> Generator[Piece, None, None]:
    """The tensors of all shards in order; on the way, the hashes of all files."""
    ring = Ring()
    # one pass over a file for each component in it
    jobs = [(Path(shard.path).parent, job.file, job) for shard in shards for job in shard.jobs]
    for (_, file), group in groupby(jobs, key=lambda entry: entry[:2]):
        yield from _file_pieces(file, [job for _, _, job in group], ring, journal)
    for file in files:
        yield from _file_pieces(file, [], ring, journal)


def _file_pieces(
    file: Path, jobs: list[TensorJob], ring: Ring, journal: Journal
) -> Iterator[Piece]:
    if str(file) in journal.sources:
        yield from read_pieces(file, jobs, ring)
        return
    with closing(Digest()) as digest:
        yield from read_pieces(file, jobs, ring, digest)
        journal.sources[str(file)] = digest.hexdigest()
