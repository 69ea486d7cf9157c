"""`mlx-wan bench`: evidence. A/B comparisons with their report and votes, speed, kernels."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlx_wan.errors import UsageError

from . import bench_tables as tables
from . import options as o

if TYPE_CHECKING:
    from mlx_wan.bench.ab.experiment import Experiment, Plans
    from mlx_wan.bench.ab.results import StoredExperiment
    from mlx_wan.plan import Plan

bench_app = typer.Typer(
    name="bench",
    help="Evidence: compare models or settings, vote blind, measure speed.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)

AB_HELP = """\
A and B are models (a name or folder), or models with settings, as in
wan-mini:steps=8,solver=euler,guidance_scale=3 or
wan2.2-t2v-a14b:quant=8,guidance_scale.low_noise=3

Settings: steps, solver, shift, guidance_scale (guidance_scale.EXPERT for one), quality, quant.

With --matrix each of them runs in every combination; one model is enough then:
mlx-wan bench ab wan-mini --matrix steps=4,20 solver=unipc,euler

The same command goes on where it was stopped.
"""

Folder = Annotated[
    Path, typer.Argument(metavar="DIR", help="The --report folder of a `mlx-wan bench ab`.")
]
Quality = Annotated[
    str | None,
    typer.Option(help="high, medium or low; auto takes each prompt's density. Sets the steps."),
]
_SHARED: dict[str, Any] = {  # the same for all variants; steps and the like where they say nothing
    "image": o.Image,
    "width": o.Width,
    "height": o.Height,
    "num_frames": o.NumFrames,
    "fps": o.Fps,
    **{name: kind for name, kind in o.SAMPLING.items() if name != "seed"},
    "memory_limit": o.MemoryLimit,
}


@bench_app.command(epilog=AB_HELP)
@o.takes(_SHARED)
def ab(
    flags: dict[str, Any],
    variants: Annotated[list[str], typer.Argument(metavar="A [B]", help="What is compared.")],
    prompts: Annotated[
        Path | None, typer.Option(help="One per line, or JSON or YAML. Default: 24 built in.")
    ] = None,
    num_prompts: Annotated[int | None, typer.Option(help="Only the first so many.")] = None,
    seeds: Annotated[str, typer.Option(help="Of each prompt, as in 0,1,2.")] = "0,1",
    repeats: Annotated[int, typer.Option(help="Runs of each, for steadier times.")] = 1,
    quality: Quality = None,
    matrix: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE,...", help="Combinations; further ones may follow."),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Default: ab-A-vs-B in this folder.")
    ] = None,
    timeout: Annotated[float, typer.Option(help="Seconds until a run counts as failed.")] = 21600,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Make failed runs again; it stays recorded.")
    ] = False,
    order_seed: Annotated[int, typer.Option(help="Draws the order of the variants.")] = 0,
    dry_run: o.DryRun = False,
    as_json: o.Json = False,
) -> None:
    """Run the same prompts, seeds and noise through two models or settings, and judge them."""
    from mlx_wan.bench.ab.compare import compare
    from mlx_wan.bench.ab.experiment import Experiment, Plans
    from mlx_wan.bench.ab.prompts import read_prompts
    from mlx_wan.bench.ab.variants import build_variants

    from .planned import memory_bytes

    if not 0 < timeout <= 1e7:
        raise UsageError(f"timeout is {timeout:g}", "accepted: seconds above 0")
    texts, axes = _split_words(variants, matrix)
    common = _common(flags, quality)
    experiment = Experiment(
        tuple(build_variants(texts, axes, common)),
        read_prompts(prompts, num_prompts),
        _seeds(seeds),
        repeats,
        order_seed,
        common,
        memory_bytes(flags["memory_limit"]),
    )
    folder = report or _default_folder(texts, axes)
    plans = Plans(experiment)
    if dry_run:
        _show_experiment(experiment, plans, folder, as_json)
        return
    tables.tell(f"{len(experiment.runs)} runs into {folder}")
    try:
        compare(
            experiment,
            folder,
            timeout=timeout,
            retry_failed=retry_failed,
            report=tables.run_printer(),
            plans=plans,
        )
    except KeyboardInterrupt:
        tables.tell("the same command goes on where it stopped")
        raise
    _finish(folder, as_json)


@bench_app.command()
def report(
    folder: Folder,
    again: Annotated[bool, typer.Option("--again", help="Measure the videos once more.")] = False,
    as_json: o.Json = False,
) -> None:
    """Write the report of a comparison anew, with the votes given so far."""
    _finish(folder, as_json, again=again)


@bench_app.command()
def vote(
    folder: Folder,
    port: Annotated[int, typer.Option(help="On this machine only; 0 takes a free one.")] = 0,
) -> None:
    """Show pairs blind and in random order in the browser, and store the votes."""
    from mlx_wan.bench.report import serve_votes

    serve_votes(folder, port)


@bench_app.command()
@o.takes({"model": o.Model, "memory_limit": o.MemoryLimit} | _SHARED)
def speed(
    flags: dict[str, Any],
    prompt: Annotated[str, typer.Argument(help="What to show.")] = "slow blue aurora over black",
    seed: Annotated[int, typer.Option(help="Of the noise.")] = 0,
    runs: Annotated[int, typer.Option(help="Counted runs; one more goes before them.")] = 5,
    dry_run: o.DryRun = False,
    as_json: o.Json = False,
) -> None:
    """Run one plan again and again: median, least and most of each stage."""
    from mlx_wan.bench.ab.speed import measure_speed
    from mlx_wan.planning import make_plan
    from mlx_wan.request import Request

    from .deliver import show
    from .planned import given_flags, memory_bytes

    values = given_flags(flags) | {"prompt": prompt, "seed": seed}
    limit = memory_bytes(values.pop("memory_limit", None))
    plan = make_plan(Request.from_dict(values), memory_limit=limit)
    if dry_run:
        show(plan, as_json)
        return

    def tell(number: int, told: dict[str, Any]) -> None:
        name = f"run {number} of {runs}" if number else "warm-up"
        tables.tell(f"{name}: {sum(told['seconds'].values()):.2f} s")

    figures = measure_speed(plan, runs, report=tell)
    if as_json:
        print(json.dumps({"ok": True} | figures, ensure_ascii=False))
    else:
        tables.print_speed(figures)
    _keep_speed(plan, figures)


@bench_app.command()
def kernels(
    only: Annotated[
        str | None, typer.Option(help="As in matmul,attention,conv3d,rotary,norm.")
    ] = None,
    size: Annotated[str, typer.Option(help="small, real or both, as in small,real.")] = "small",
    runs: Annotated[int, typer.Option(help="Counted runs; one more goes before them.")] = 7,
    as_json: o.Json = False,
) -> None:
    """Time the engine's functions alone: matmul, attention, conv3d, rotary, norm."""
    from mlx_wan.bench.ab.kernels import KERNELS, measure_kernels

    names = list(KERNELS) if only is None else [name.strip() for name in only.split(",")]
    sizes = [name.strip() for name in size.split(",")]
    figures = measure_kernels(names, sizes, runs)
    if as_json:
        print(json.dumps({"ok": True} | figures))
        return
    tables.print_kernels(figures)


def _keep_speed(plan: "Plan", figures: dict[str, Any]) -> None:
    """Note what was measured of a model that goes by a name, for `mlx-wan models`."""
    from mlx_wan.errors import MlxWanError
    from mlx_wan.registry import record_benchmark
    from mlx_wan.registry.promotion import model_folder

    path = Path(plan.model_path)
    folder = model_folder(path.name)
    if folder is None or not figures["seconds_per_step"] or folder.resolve() != path.resolve():
        return
    size = {name: getattr(plan, name) for name in ("width", "height", "num_frames", "steps")}
    facts = {name: figures[name] for name in ("machine", "versions", "commit", "runs")}
    told = {
        "seconds_per_step": figures["seconds_per_step"]["median"],
        "seconds": figures["seconds"]["total"]["median"],
        "fingerprint": plan.model_fingerprint,
    }
    try:
        record_benchmark(path.name, told | size | facts)
    except MlxWanError as error:  # the figures are out already
        tables.tell(f"note: not kept for `mlx-wan models`: {error.message}")


def _split_words(words: list[str], matrix: list[str] | None) -> tuple[list[str], list[str]]:
    """Variants, and the words that go on with --matrix, which a shell hands over after it."""
    if not matrix:
        return _at_most_two(words), []
    further = [word for word in words if "=" in word and ":" not in word]
    return _at_most_two([word for word in words if word not in further]), [*matrix, *further]


def _at_most_two(texts: list[str]) -> list[str]:
    if len(texts) > 2:
        raise UsageError(
            f"these are {len(texts)} variants", "give A and B; more are made with --matrix"
        )
    return texts


def _common(flags: dict[str, Any], quality: str | None) -> dict[str, Any]:
    """What the variants share, by the names an experiment has for it."""
    from mlx_wan.bench.ab.variants import parse_setting

    from .planned import given_flags

    given = given_flags({name: v for name, v in flags.items() if name != "memory_limit"})
    if isinstance(scale := given.get("guidance_scale"), dict):
        del given["guidance_scale"]
        given |= {f"guidance_scale.{expert}": value for expert, value in scale.items()}
    if quality is not None:
        given["quality"] = parse_setting("quality", quality)[1]
    if "image" in given:
        given["image"] = str(Path(given["image"]).absolute())
    return given


def _seeds(text: str) -> tuple[int, ...]:
    words = [word.strip() for word in text.split(",")]
    if not all(word.isascii() and word.isdigit() and len(word) <= 19 for word in words):
        raise UsageError(f"seeds is {text!r}", "accepted: whole numbers with commas, as in 0,1")
    return tuple(int(word) for word in words)


def _default_folder(texts: list[str], axes: list[str]) -> Path:
    from mlx_wan.run import file_stem

    names = [file_stem(Path(text).name) for text in texts]
    return Path("-".join(["ab", "-vs-".join(names), *(file_stem(axis) for axis in axes)])[:100])


def _show_experiment(experiment: "Experiment", plans: "Plans", folder: Path, as_json: bool) -> None:
    from mlx_wan.bench.ab.experiment import describe

    about = describe(experiment, plans)
    flops = sum(map(plans.flops, experiment.runs))
    more = {"folder": str(folder), "runs": len(experiment.runs), "flops": flops}
    if as_json:
        print(json.dumps({"ok": True} | more | about, ensure_ascii=False))
        return
    tables.print_experiment(about, more)


def _finish(folder: Path, as_json: bool, again: bool = False) -> None:
    """Measure what was not measured yet, write the report, and say what came out."""
    from mlx_wan.bench.ab.folder import locked
    from mlx_wan.bench.ab.measuring import measure_runs
    from mlx_wan.bench.ab.results import read_experiment, read_runs
    from mlx_wan.bench.ab.summary import summarize, to_json

    experiment = read_experiment(folder)  # before a lock is put into a folder of other things
    with locked(folder):
        measure_runs(experiment, again=again, report=tables.print_measured)
        report = _write_report(experiment)
    summaries = summarize(experiment, read_runs(experiment))
    empty = [one for one in summaries if not one.done]
    if as_json:
        told = {"ok": not empty, "folder": str(folder), "verdict": report["verdict"]}
        told |= {"variants": to_json(summaries), "report": report}
        print(json.dumps(told, ensure_ascii=False))
    else:
        tables.print_summaries(experiment, summaries, report)
    if empty:
        why = empty[0].errors[0] if empty[0].errors else "none was made"
        tables.tell(f"error: no run of {empty[0].label} was finished: {why}")
        tables.tell(
            "hint: give the `mlx-wan bench ab` again, with --retry-failed where runs failed"
        )
        raise typer.Exit(1)


def _write_report(experiment: "StoredExperiment") -> dict[str, Any]:
    """The page and its figures; evidence about two models goes to the registry."""
    from mlx_wan import registry
    from mlx_wan.bench.ab.results import both_are_models
    from mlx_wan.bench.report import write_report

    report = write_report(experiment.folder)
    if both_are_models(experiment):
        registry.record_ab_report(report)
        tables.tell("kept as evidence between the two, which `mlx-wan models activate` asks for")
    return report
