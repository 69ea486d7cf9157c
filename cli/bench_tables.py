"""How benchmarks look on a terminal. Labels come from files: no markup, no codes."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .library_tables import console, plain, size_text

if TYPE_CHECKING:
    from mlx_wan.bench.ab.results import StoredExperiment
    from mlx_wan.bench.ab.summary import Spread, VariantSummary


def print_experiment(about: dict[str, Any], more: dict[str, Any]) -> None:
    """What `bench ab` would do."""
    _table(
        ("", "variant", "model", "fingerprint"),
        [
            (id, one["label"], one["model_path"], one["fingerprint"][:12])
            for id, one in about["variants"].items()
        ],
    )
    _print_differences(about["plan_differences"])
    densities = [prompt["density"] for prompt in about["prompts"]]
    counts = ", ".join(f"{densities.count(one)} {one}" for one in dict.fromkeys(densities))
    print(f"\nprompts  {len(densities)} ({counts}), seeds {', '.join(map(str, about['seeds']))}")
    warm = len(about["variants"])
    print(f"runs     {more['runs']}, {warm} of them to warm up; {more['flops'] / 1e12:,.3g} TFLOP")
    print(f"folder   {plain(more['folder'])}")


def print_summaries(
    experiment: "StoredExperiment",
    summaries: "Sequence[VariantSummary]",
    verdict: dict[str, Any],
    folder: Path,
) -> None:
    """What the variants cost, where they differ, and what follows."""
    from mlx_wan.memory import format_bytes

    rows = []
    for one in summaries:
        peak = max(one.peak_memory.values(), default=0)
        stages = [_seconds(one.seconds.get(stage)) for stage in ("encode", "denoise", "decode")]
        rows.append(
            (
                *(one.id, one.label, str(one.done), str(one.failed) if one.failed else "-"),
                *(_seconds(one.seconds_per_step), *stages, _seconds(one.seconds.get("total"))),
                format_bytes(peak) if peak else "",
                size_text(one.model_bytes) if one.model_bytes else "",
            )
        )
    names = ("s/step", "encode", "denoise", "decode", "total s")
    _table(("", "variant", "runs", "failed", *names, "peak memory", "on disk"), rows, right=2)
    for one in summaries:
        for error in one.errors[:3]:
            print(f"failed   {one.id}: {plain(error)}")
    _print_differences(experiment.data.get("plan_differences"))
    print(f"\nverdict  {plain(str(verdict.get('verdict')))}")
    for reason in verdict.get("reasons") or ():
        print(f"         {plain(str(reason))}")
    print(f"report   {plain(str(folder / 'report.html'))}")


def print_speed(figures: dict[str, Any]) -> None:
    plan = figures["plan"]
    print(
        f"{plan['model']}  {plan['width']}x{plan['height']}, {plan['num_frames']} frames, "
        f"{plan['solver']} {plan['steps']} steps, {plan['tokens']:,} tokens"
    )
    rows = [(name, *_three(values)) for name, values in figures["seconds"].items()]
    if figures["seconds_per_step"]:
        rows.append(("one step", *_three(figures["seconds_per_step"])))
    _table(("seconds", "median", "min", "max"), rows, right=1)
    print(f"{figures['teraflops']:.3g} TFLOP/s while denoising, {figures['runs']} runs")
    _print_machine(figures)


def print_kernels(figures: dict[str, Any]) -> None:
    rows = [
        (
            *(row["kernel"], row["size"], row["shape"]),
            *(f"{row['seconds'][name] * 1e3:.3g}" for name in ("median", "min", "max")),
            f"{row['gflops']:,.1f}",
            f"{row['gbytes_per_second']:,.1f}",
        )
        for row in figures["kernels"]
    ]
    names = ("kernel", "size", "shape", "median ms", "min", "max", "GFLOP/s", "GB/s")
    _table(names, rows, right=3)
    print(f"{figures['dtype']}, {figures['runs']} runs")
    _print_machine(figures)


def _print_machine(figures: dict[str, Any]) -> None:
    machine, versions = figures["machine"], figures["versions"]
    told = ", ".join(f"{name} {number}" for name, number in versions.items())
    print(f"{machine['chip']}, {machine['cores']} cores, {machine['system']}, {machine['device']}")
    commit = figures["commit"]
    if commit:
        told += f", commit {commit[:12]}" + (", changed" if commit.endswith("+") else "")
    print(told)


def _print_differences(differences: Any) -> None:
    if not isinstance(differences, dict) or not differences:
        print("\nThe plans do not differ.")
        return
    rows = [
        (name, *(_short(value) for value in values))
        for name, values in differences.items()
        if isinstance(values, list)
    ]
    count = max((len(row) for row in rows), default=1) - 1
    print()
    _table(("differs", *"abcdefghijklmnopqrstuvwxyz"[:count]), rows)


def _short(value: Any) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 24 else text[:21] + "..."


def _seconds(spread: "Spread | None") -> str:
    return "" if spread is None else f"{spread.median:.3g}"


def _three(values: dict[str, float]) -> tuple[str, ...]:
    return tuple(f"{values[name]:.4g}" for name in ("median", "min", "max"))


def _table(
    header: tuple[str, ...], rows: Sequence[tuple[str, ...]], right: int | None = None
) -> None:
    """`right`: columns from this one on are numbers."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for number, name in enumerate(header):
        is_number = right is not None and number >= right
        table.add_column(name, justify="right" if is_number else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(plain(cell)) for cell in row))
    console().print(table)
