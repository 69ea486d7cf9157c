"""Bars for time and memory, and what people preferred."""

from collections.abc import Mapping, Sequence
from typing import Any

from mlx_wan.bench.ab.results import STAGES
from mlx_wan.memory import format_bytes

from .markup import Markup, chip, join, person_text, tag
from .rows import number

Summary = Mapping[str, Any]
_LONG = 1000


def time_bars(summaries: Sequence[Summary], labels: Mapping[str, str]) -> Markup:
    """Median seconds of each stage, one bar for each variant; the table has least and most."""
    stages = [
        {s: one["seconds"][s]["median"] if s in one["seconds"] else 0.0 for s in STAGES}
        for one in summaries
    ]
    longest = max((sum(one.values()) for one in stages), default=0) or 1
    bars, rows = [], []
    for one, seconds in zip(summaries, stages, strict=True):
        at, pieces = 0.0, []
        for index, stage in enumerate(STAGES, 1):
            width = seconds[stage] / longest * _LONG
            title = tag("title", f"{stage}: {number(seconds[stage])} s")
            pieces.append(_rect(at, width, f"s{index}", title))
            at += width
        total = f"{number(sum(seconds.values()))} s" if one["done"] else "no run"
        bars += _bar(one["id"], labels, pieces, total)
        rows.append(_times(one))
    legend = [
        tag(
            "span",
            tag("svg", _rect(0, 10, f"s{i}"), viewBox="0 0 10 10", aria_hidden="true"),
            stage,
        )
        for i, stage in enumerate(STAGES, 1)
    ]
    names = ["", *(f"{stage}, s" for stage in (*STAGES, "total")), "step, s", "runs", "failed"]
    head = [tag("th", name, class_="number" if name else None, scope="col") for name in names]
    table = tag("table", tag("thead", tag("tr", *head)), tag("tbody", *rows), class_="stack")
    return join(
        tag("h3", "Median seconds of a video"),
        tag("div", *bars, class_="bars"),
        tag("p", *legend, class_="legend"),
        tag(
            "details",
            tag("summary", "Median, least and most of each stage"),
            tag("div", table, class_="scroll"),
        ),
    )


def memory_bars(summaries: Sequence[Summary], labels: Mapping[str, str]) -> Markup:
    """The largest peak of any stage and run."""
    peaks = [
        max(one["peak_memory"].items(), key=lambda kv: kv[1], default=("", 0)) for one in summaries
    ]
    largest = max((size for _, size in peaks), default=0) or 1
    bars: list[Markup] = []
    for one, (stage, size) in zip(summaries, peaks, strict=True):
        css = one["id"] if one["id"] in "abcd" else "more"
        pieces = [_rect(0, size / largest * _LONG, f"fill-{css}")]
        told = f"{format_bytes(size)} in {stage}" if size else "not measured"
        bars += _bar(one["id"], labels, pieces, told)
    return join(tag("h3", "Peak memory, the largest of all runs"), tag("div", *bars, class_="bars"))


def strengths_table(report: Mapping[str, Any], labels: Mapping[str, str]) -> Markup:
    """Win rates with their interval and sign test, then Bradley-Terry strengths."""
    lines = []
    for comparison in report["comparisons"]:
        votes = comparison["preference"]
        if not votes:
            continue
        rate, id = votes["win_rate"], comparison["candidate"]
        interval = f", 95 % interval {_percents(rate)}" if rate else ""
        lines.append(
            tag(
                "p",
                chip(id),
                f"is preferred to A in {100 * votes['mean_win_rate']:.0f} %{interval}: "
                f"{votes['wins']} prompts won, {votes['losses']} lost, {votes['ties']} tied "
                f"({votes['votes']} votes of {votes['raters']} "
                f"{'rater' if votes['raters'] == 1 else 'raters'}; sign test p = "
                f"{votes['sign_p']:.2g}; evidence {votes['evidence']:.3g}). A tie is half a win.",
            )
        )
    bars = []
    for id, strength in report["strengths"].items():
        if not strength:
            continue
        css = id if id in "abcd" else "more"
        pieces = [
            _rect(0, strength["mean"] * _LONG, f"fill-{css}"),
            tag(
                "line",
                x1=f"{strength['low'] * _LONG:.1f}",
                x2=f"{strength['high'] * _LONG:.1f}",
                y1=5,
                y2=5,
                class_="whisker",
            ),
        ]
        told = f"{strength['mean']:.2f} ({strength['low']:.2f} to {strength['high']:.2f})"
        bars += [
            tag("span", chip(id), person_text(labels[id])),
            _svg(pieces),
            tag("span", told, class_="value"),
        ]
    chart = (
        [tag("h3", "Bradley\N{EN DASH}Terry strength"), tag("div", *bars, class_="bars")]
        if bars
        else []
    )
    return join(*lines, *chart)


def _percents(rate: Mapping[str, float]) -> str:
    return f"{100 * rate['low']:.0f} to {100 * rate['high']:.0f} %"


def _times(one: Summary) -> Markup:
    cells = []
    for stage in (*STAGES, "total"):
        spread = one["seconds"].get(stage)
        cells.append(tag("td", _spread(spread), class_="number", data_label=f"{stage}, s"))
    cells.append(tag("td", _spread(one["seconds_per_step"]), class_="number", data_label="step, s"))
    cells.append(tag("td", one["done"], class_="number", data_label="runs"))
    cells.append(tag("td", one["failed"], class_="number", data_label="failed"))
    return tag("tr", tag("th", chip(one["id"]), scope="row"), *cells)


def _spread(spread: Mapping[str, float] | None) -> str:
    if not spread:
        return "\N{EN DASH}"
    return f"{number(spread['median'])} ({number(spread['min'])}\N{EN DASH}{number(spread['max'])})"


def _bar(id: str, labels: Mapping[str, str], pieces: Sequence[Markup], value: str) -> list[Markup]:
    name = tag("span", chip(id), person_text(labels[id]))
    return [name, _svg(pieces), tag("span", value, class_="value")]


def _svg(pieces: Sequence[Markup]) -> Markup:
    return tag(
        "svg",
        *pieces,
        class_="bar",
        viewBox=f"0 0 {_LONG} 10",
        preserveAspectRatio="none",
        aria_hidden="true",
    )


def _rect(x: float, width: float, css: str, *children: Markup) -> Markup:
    return tag("rect", *children, x=f"{x:.1f}", y=0, width=f"{width:.1f}", height=10, class_=css)
