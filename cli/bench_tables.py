"""How benchmarks look on a terminal. Labels come from files: no markup, no codes."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .library_tables import plain, size_text
from .tables import print_table

if TYPE_CHECKING:
    from mlx_wan.bench.ab.results import StoredExperiment
    from mlx_wan.bench.ab.runner import Progress
    from mlx_wan.bench.ab.summary import Spread, VariantSummary


def tell(text: str) -> None:
    """A line on stderr."""
    print(plain(text), file=sys.stderr)


def run_printer() -> "Callable[[Progress], None]":
    """Tells each run on a line of stderr, and how long the others will take."""
    from statistics import fmean

    from mlx_wan.studio.forecast import spoken

    taken: list[float] = []

    def told(progress: "Progress") -> None:
        run = progress.run
        taken.append(progress.seconds)
        name = f"{run.variant}  {run.prompt}, seed {run.seed}" + (", warm-up" if run.warmup else "")
        end = f"FAILED: {progress.error}" if progress.error else f"{progress.seconds:.1f} s"
        if progress.left and not progress.error:
            end += f", {spoken(fmean(taken) * progress.left)} left"
        width = len(str(progress.total))
        tell(f"{progress.number:>{width}} of {progress.total}  {name:<32}  {end}")

    return told


def print_measured(done: int, total: int) -> None:
    if done == total or done % 20 == 0:
        tell(f"measured {done} of {total} videos")


def print_experiment(about: dict[str, Any], more: dict[str, Any]) -> None:
    """What `bench ab` would do."""
    print_table(
        ("", "variant", "model", "fingerprint"),
        [
            (id, one["label"], _place(one["model_path"]), one["fingerprint"][:12])
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


def _place(path: str) -> str:
    from mlx_wan.loading import embedded_model

    return "built in" if Path(path) == embedded_model() else path


def print_summaries(
    experiment: "StoredExperiment",
    summaries: "Sequence[VariantSummary]",
    report: dict[str, Any],
) -> None:
    """What the variants cost, where they differ, and what follows."""
    table = _costs(summaries)
    if len(summaries) <= 3:  # a column each, with the spread
        header = ("", *(f"{one.id}  {one.label}" for one in summaries))
        print_table(
            header, [(name, *cells) for name, cells in table.items()], numbers=slice(1, None)
        )
    else:
        medians = [[cell.split(" (")[0] for cell in cells] for cells in table.values()]
        rows = zip(
            *([one.id for one in summaries], [one.label for one in summaries], *medians),
            strict=True,
        )
        print_table(("", "variant", *table), list(rows), numbers=slice(2, None))
    for one in summaries:
        for error in one.errors[:3]:
            print(f"failed   {one.id}: {plain(error)}")
    _print_differences(experiment.data.get("plan_differences"))
    print(f"\nverdict  {plain(str(report['verdict']))}")
    for reason in report.get("reasons") or ():
        print(f"         {plain(str(reason))}")
    print(f"report   {plain(str(experiment.folder / 'report.html'))}")


def print_speed(figures: dict[str, Any]) -> None:
    plan = figures["plan"]
    print(
        f"{plan['model']}  {plan['width']}x{plan['height']}, {plan['num_frames']} frames, "
        f"{plan['solver']} {plan['steps']} steps, {plan['tokens']:,} tokens"
    )
    rows = [(name, *_three(values)) for name, values in figures["seconds"].items()]
    if figures["seconds_per_step"]:
        rows.append(("one step", *_three(figures["seconds_per_step"])))
    print_table(("seconds", "median", "min", "max"), rows, numbers=slice(1, None))
    print(f"{figures['teraflops']:.3g} TFLOP/s while denoising, runs: {figures['runs']}")
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
    print_table(names, rows, numbers=slice(3, None))
    print(f"{figures['dtype']}, runs: {figures['runs']}")
    _print_machine(figures)


def _costs(summaries: "Sequence[VariantSummary]") -> dict[str, list[str]]:
    """Rows by name, a cell for each variant; times are medians, with least and most."""
    from mlx_wan.memory import format_bytes

    rows = {
        "runs": [str(one.done) for one in summaries],
        "failed": [str(one.failed or "") for one in summaries],
        "failed before": [str(one.failed_before or "") for one in summaries],
        "s/step": [_spread(one.seconds_per_step) for one in summaries],
    }
    for stage in ("encode", "denoise", "decode", "save", "total"):
        rows[f"{stage} s"] = [_spread(one.seconds.get(stage)) for one in summaries]
    peaks = [max(one.peak_memory.values(), default=0) for one in summaries]
    rows["most memory"] = [format_bytes(peak) if peak else "" for peak in peaks]
    rows["whole process"] = [
        format_bytes(one.peak_rss) if one.peak_rss else "" for one in summaries
    ]
    rows["on disk"] = [size_text(one.model_bytes) if one.model_bytes else "" for one in summaries]
    return {name: cells for name, cells in rows.items() if any(cells)}


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
    print_table(("differs", *"abcdefghijklmnopqrstuvwxyz"[:count]), rows)


def _short(value: Any) -> str:
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 24 else text[:21] + "..."


def _spread(values: "Spread | None") -> str:
    if values is None:
        return ""
    return f"{values.median:.3g} ({values.min:.3g} - {values.max:.3g})"


def _three(values: dict[str, float]) -> tuple[str, ...]:
    return tuple(f"{values[name]:.4g}" for name in ("median", "min", "max"))
