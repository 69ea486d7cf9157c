"""The report as one HTML page: the verdict first, then what can be watched, then the figures."""

from collections.abc import Mapping, Sequence
from typing import Any

from mlx_wan.bench.metrics import Metric
from mlx_wan.memory import format_bytes

from .charts import memory_bars, strengths_table, time_bars
from .markup import Markup, chip, join, person_text, tag
from .media import Videos
from .pairs import peak
from .rows import figures_table, gates_table, number
from .shell import controls, document

CLASSES = {"PASS": "pass", "FAIL": "fail", "NOT ENOUGH EVIDENCE": "open"}


def page(
    report: Mapping[str, Any],
    videos: Videos,
    sources: Mapping[str, str],
    metrics: Mapping[str, Metric],
) -> str:
    """The whole page; `sources` are URLs of the runs' videos by the runs' names."""
    labels = {id: about["label"] for id, about in report["variants"].items()}
    comparisons = report["comparisons"]
    title = " vs ".join(labels.values()) if len(labels) < 4 else f"{len(labels)} variants"
    body = join(
        tag("header", _title(labels), _facts(report), *(_verdict(c, labels) for c in comparisons)),
        tag(
            "main",
            _watch(labels, bool(videos)),
            *(_comparison(c, labels, metrics) for c in comparisons),
            _votes(report, labels),
            _costs(report, labels),
            _plans(report, labels),
            _environment(report),
            _failed(report, labels),
            _rules(report),
        ),
    )
    return document(
        f"A/B report: {title}", body, ("players.js", "page.js"), _player(report, videos, sources)
    )


def _title(labels: Mapping[str, str]) -> Markup:
    parts: list[Markup] = []
    for id, label in labels.items():
        parts += [tag("span", "vs", class_="vs"), join(chip(id), person_text(label))]
    return tag("h1", *parts[1:])


def _facts(report: Mapping[str, Any]) -> Markup:
    words = [
        _count(len(report["prompts"]), "prompt"),
        _count(len(report["seeds"]), "seed"),
        *([f"{report['repeats']} repeats"] if report["repeats"] > 1 else []),
        _count(report["votes"]["counted"], "vote"),
        f"finished {report['finished'].replace('T', ' ').replace('Z', ' UTC')}",
    ]
    return tag("p", " \N{MIDDLE DOT} ".join(words), class_="soft")


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")


def _verdict(comparison: Mapping[str, Any], labels: Mapping[str, str]) -> Markup:
    id = comparison["candidate"]
    about = f"May {id.upper()} replace A?"
    return tag(
        "section",
        tag("span", join(chip(id), about), class_="soft"),
        tag("strong", comparison["verdict"]),
        tag("ul", *(tag("li", reason) for reason in comparison["reasons"])),
        class_=f"card verdict {CLASSES[comparison['verdict']]}",
        aria_label=f"Verdict about {id.upper()}",
    )


def _watch(labels: Mapping[str, str], any_video: bool) -> Markup:
    if not any_video:
        return tag("section", tag("h2", "Watch"), tag("p", "There are no videos."), class_="card")
    figures = [
        tag(
            "figure",
            tag("div", "", class_="none"),
            tag("figcaption", chip(id), person_text(label), " ", tag("span", class_="note soft")),
            data_variant=id,
        )
        for id, label in labels.items()
    ]
    return tag(
        "section",
        tag("h2", "Watch"),
        tag(
            "div",
            tag(
                "button",
                "\N{LEFTWARDS ARROW}",
                id="previous",
                type="button",
                aria_label="Previous pair",
            ),
            tag("select", id="pick", aria_label="Prompt and seed"),
            tag("button", "\N{RIGHTWARDS ARROW}", id="next", type="button", aria_label="Next pair"),
            class_="picker",
        ),
        tag("p", id="prompt", class_="prompt", dir="auto"),
        tag("div", *figures, class_="stage", id="stage"),
        controls(),
        tag(
            "p",
            *(tag("kbd", "space"), " play or pause, ", tag("kbd", ","), " ", tag("kbd", ".")),
            *(" one frame, ", tag("kbd", "p"), " ", tag("kbd", "n"), " another pair"),
            class_="soft",
        ),
        tag("noscript", tag("p", "The players need JavaScript; the figures below do not.")),
        class_="card",
    )


def _comparison(
    comparison: Mapping[str, Any], labels: Mapping[str, str], metrics: Mapping[str, Metric]
) -> Markup:
    id = comparison["candidate"]
    figures = comparison["figures"]
    counts = f"{comparison['pairs']} finished pairs of {comparison['prompts']} prompts"
    missing = f", {comparison['missing']} runs not made yet" if comparison["missing"] else ""
    return tag(
        "section",
        tag(
            "h2",
            "Figures: ",
            chip("a"),
            person_text(labels["a"]),
            tag("span", "vs", class_="vs"),
            chip(id),
            person_text(labels[id]),
        ),
        tag("p", f"{counts}{missing}. Means over prompts; intervals of 95 %.", class_="soft"),
        figures_table([f for f in figures if f["kind"] != "information"], id, "Decided on"),
        figures_table([f for f in figures if f["kind"] == "information"], id, "For information"),
        gates_table(comparison["gates"], id),
        _sources(figures, metrics),
        class_="card",
    )


def _sources(figures: Sequence[Mapping[str, Any]], metrics: Mapping[str, Metric]) -> Markup | None:
    """Formula and source of each metric, where its author tells them."""
    entries = []
    for figure in figures:
        metric = metrics.get(figure["name"])
        told = [getattr(metric, name, None) for name in ("formula", "source")]
        words = " ".join(str(text) for text in told if text)
        if words:
            entries += [tag("dt", figure["name"]), tag("dd", words)]
    if not entries:
        return None
    return tag("details", tag("summary", "What the figures are"), tag("dl", *entries))


def _votes(report: Mapping[str, Any], labels: Mapping[str, str]) -> Markup:
    told = report["votes"]
    skipped = told["unreadable"]
    return tag(
        "section",
        tag("h2", "Preference"),
        strengths_table(report, labels)
        if told["counted"]
        else tag("p", "No votes yet: ", tag("code", "mlx-wan bench vote DIR"), class_="soft"),
        tag("p", f"{skipped} lines of votes.jsonl could not be read.", class_="worse")
        if skipped
        else None,
        class_="card",
    )


def _costs(report: Mapping[str, Any], labels: Mapping[str, str]) -> Markup:
    return tag(
        "section",
        tag("h2", "Time and memory"),
        time_bars(report["summaries"], labels),
        memory_bars(report["summaries"], labels),
        class_="card",
    )


def _plans(report: Mapping[str, Any], labels: Mapping[str, str]) -> Markup:
    differences = report["plan_differences"]
    rows = []
    if isinstance(differences, dict):
        for name, values in differences.items():
            cells = values if isinstance(values, list) else [values]
            rows.append(tag("tr", tag("th", name, scope="row"), *_cells(cells, labels)))
    header = tag("tr", tag("th", "Setting"), *(tag("th", chip(id), scope="col") for id in labels))
    return tag(
        "section",
        tag("h2", "What is different in the plans"),
        tag(
            "div",
            tag("table", tag("thead", header), tag("tbody", *rows)),
            class_="scroll",
            tabindex="0",
            role="region",
            aria_label="Plan differences",
        )
        if rows
        else tag("p", "Nothing: both make the same plans.", class_="soft"),
        class_="card",
    )


def _cells(values: Sequence[Any], labels: Mapping[str, str]) -> list[Markup]:
    return [tag("td", person_text(_plain(value))) for value in values[: len(labels)]]


def _environment(report: Mapping[str, Any]) -> Markup:
    entries = []
    for name, value in report["environment"].items():
        items = value.items() if isinstance(value, dict) else [(name, value)]
        for key, one in items:
            told = format_bytes(one) if key == "memory" and type(one) is int else _plain(one)
            entries.append(tag("tr", tag("th", key, scope="row"), tag("td", person_text(told))))
    for id, about in report["variants"].items():
        hash_text = tag("code", about["fingerprint"])
        row = (
            tag("th", chip(id), "weights", scope="row"),
            tag("td", person_text(about["model"]), " ", hash_text),
        )
        entries.append(tag("tr", *row))
    return tag(
        "section",
        tag("h2", "Environment"),
        tag("div", tag("table", tag("tbody", *entries), class_="plain"), class_="scroll"),
        class_="card",
    )


def _failed(report: Mapping[str, Any], labels: Mapping[str, str]) -> Markup | None:
    failed = report["failed"]
    if not failed:
        return None
    rows = [
        tag(
            "tr",
            tag("th", chip(run["variant"]), scope="row"),
            tag("td", f"{run['prompt']}, seed {run['seed']}"),
            tag("td", person_text(run["error"] or "")),
        )
        for run in failed
    ]
    return tag(
        "section",
        tag("h2", f"Failed runs: {len(failed)}"),
        tag("p", "They count as failed at the gates and are in no other figure.", class_="soft"),
        tag("div", tag("table", tag("tbody", *rows), class_="plain"), class_="scroll"),
        class_="card",
    )


def _rules(report: Mapping[str, Any]) -> Markup:
    rules = tag("ol", *(tag("li", rule) for rule in report["rules"]))
    return tag(
        "section", tag("details", tag("summary", "How the verdict is made"), rules), class_="card"
    )


def _player(
    report: Mapping[str, Any], videos: Videos, sources: Mapping[str, str]
) -> dict[str, Any]:
    """What the page's script needs: pairs, their videos and the words beside them."""
    texts = {prompt["id"]: prompt["text"] for prompt in report["prompts"]}
    rates = [about["settings"].get("fps") for about in report["variants"].values()]
    fps = max(
        (rate for rate in rates if isinstance(rate, int | float) and 0 < rate < 1000), default=16
    )
    return {
        "labels": {id: f"{id.upper()}, {a['label']}" for id, a in report["variants"].items()},
        "prompts": texts,
        "fps": fps,
        "pairs": [
            {
                "prompt": prompt,
                "label": f"{prompt.replace('_', ' ')}, seed {seed}",
                "runs": {
                    id: {"name": run.run.name, "note": _note(run)} for id, run in sides.items()
                },
            }
            for (prompt, seed), sides in videos.items()
        ],
        "sources": sources,
    }


def _note(run: Any) -> str:
    failed = [name for name, passed in run.gates.items() if not passed]
    words = [f"{number(run.total_seconds)} s", format_bytes(int(peak(run)))]
    if failed:
        words.append(f"fails {', '.join(failed)}")
    return " \N{MIDDLE DOT} ".join(words)


def _plain(value: Any) -> str:
    if value is None:
        return "\N{EN DASH}"
    if isinstance(value, float):
        return f"{value:,.6g}"
    if type(value) is int:
        return f"{value:,}" if abs(value) >= 10_000 else str(value)
    told = value if isinstance(value, str) else repr(value)
    return told if len(told) <= 300 else told[:300] + "\N{HORIZONTAL ELLIPSIS}"
