"""A result folder's runs and votes -> everything a report says, as plain data."""

import hashlib
import json
import math
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from mlx_wan.bench.ab.results import RunResult, StoredExperiment
from mlx_wan.bench.ab.summary import summarize, to_json
from mlx_wan.bench.metrics import Metric

from .figures import ALPHA, figures_of
from .pairs import Pair, broken, gate_counts, paired
from .verdict import MIN_EVIDENCE, RULES, Case, decide
from .votes import Vote, preference, strengths

FORMAT, VERSION = "mlx-wan-ab", 1
BASELINE = "a"
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", re.ASCII)


def build_report(
    experiment: StoredExperiment,
    runs: Sequence[RunResult],
    votes: Sequence[Vote],
    metrics: Mapping[str, Metric],
    *,
    unreadable_votes: int = 0,
) -> dict[str, Any]:
    """Figures and verdict of every variant against the first one.

    At the top is what was found about b, as evidence for an activation; `comparisons` has it for
    each variant. With several of them each is held to a share of the chance of a false verdict.
    """
    candidates = [id for id in experiment.variants if id != BASELINE]
    known = {prompt.id for prompt in experiment.prompts}
    votes = [vote for vote in votes if vote.prompt in known]
    comparisons = [
        _comparison(experiment, runs, votes, metrics, id, len(candidates)) for id in candidates
    ]
    first = comparisons[0]
    report: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "a": _evidence(experiment.variants[BASELINE]),
        "b": _evidence(experiment.variants["b"]),
        "candidate": "b",
        "verdict": first["verdict"],
        "reasons": first["reasons"],
        "finished": _finished(runs, votes),
        "comparisons": comparisons,
        "rules": list(RULES),
        "variants": {
            id: {name: about[name] for name in ("label", "model", "fingerprint", "settings")}
            for id, about in experiment.variants.items()
        },
        "summaries": to_json(summarize(experiment, runs)),
        "strengths": {
            id: _rounded(asdict(interval)) if interval else None
            for id, interval in strengths(votes, list(experiment.variants)).items()
        },
        "votes": {"counted": len(votes), "unreadable": unreadable_votes},
        "prompts": [asdict(prompt) for prompt in experiment.prompts],
        "seeds": list(experiment.seeds),
        "repeats": experiment.repeats,
        "failed": [
            {"variant": r.run.variant, "prompt": r.run.prompt, "seed": r.run.seed, "error": r.error}
            for r in runs
            if not r.done and not r.run.warmup
        ],
        "environment": {
            name: experiment.data.get(name) for name in ("created", "commit", "machine", "versions")
        },
        "plan_differences": experiment.data.get("plan_differences"),
    }
    report = json.loads(json.dumps(report, allow_nan=False))  # as it will be read again
    return report | {"sha256": fingerprint(report)}


def fingerprint(report: Mapping[str, Any]) -> str:
    """SHA-256 of a report's own figures, without itself and where it lies."""
    own = {name: value for name, value in report.items() if name not in ("sha256", "path")}
    text = json.dumps(own, sort_keys=True, ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def missing_runs(experiment: StoredExperiment, runs: Sequence[RunResult], *variants: str) -> int:
    """Runs of some variants that were planned and not made; failed ones were made."""
    planned = len(experiment.prompts) * len(experiment.seeds) * experiment.repeats
    made = sum(one.run.variant in variants and not one.run.warmup for one in runs)
    return len(variants) * planned - made


def _comparison(
    experiment: StoredExperiment,
    runs: Sequence[RunResult],
    votes: Sequence[Vote],
    metrics: Mapping[str, Metric],
    candidate: str,
    candidates: int,
) -> dict[str, Any]:
    pairs = paired(runs, BASELINE, candidate)
    alpha = ALPHA / candidates
    done = [pair for pair in pairs if pair.done]
    figures = figures_of(pairs, metrics, alpha=alpha)
    gates = gate_counts(pairs)
    preferred = preference(votes, BASELINE, candidate)
    case = Case(
        figures=figures,
        gates=gates,
        preference=preferred,
        prompts=len({pair.prompt for pair in done}),
        pairs=len(done),
        missing=missing_runs(experiment, runs, BASELINE, candidate),
        broken=_broken_prompts(pairs),
        all_broken=_all_broken(pairs),
        alpha=alpha,
        min_evidence=MIN_EVIDENCE * candidates,
    )
    decided = decide(case)
    return {
        "candidate": candidate,
        "against": BASELINE,
        "verdict": decided.verdict,
        "reasons": list(decided.reasons),
        "prompts": case.prompts,
        "pairs": case.pairs,
        "missing": case.missing,
        "figures": [_rounded(asdict(figure)) for figure in figures],
        "gates": [asdict(gate) for gate in gates],
        "preference": _rounded(asdict(preferred)) if preferred else None,
    }


def _broken_prompts(pairs: Sequence[Pair]) -> tuple[int, int]:
    """On how many prompts more of B's videos broke, and on how many more of A's."""
    counts: dict[str, int] = {}
    for pair in pairs:
        more = any(map(broken, pair.b)) - any(map(broken, pair.a))
        counts[pair.prompt] = counts.get(pair.prompt, 0) + more
    return sum(n > 0 for n in counts.values()), sum(n < 0 for n in counts.values())


def _all_broken(pairs: Sequence[Pair]) -> bool:
    return bool(pairs) and all(
        all(map(broken, pair.b)) and not any(map(broken, pair.a)) for pair in pairs
    )


def _finished(runs: Sequence[RunResult], votes: Sequence[Vote]) -> str:
    """When the last run or vote was: writing the report again makes the evidence no newer."""
    told = [*(run.finished for run in runs), *(vote.time for vote in votes)]
    seconds = [f"{text[:19]}Z" for text in told if _TIME.match(text)]
    return max(seconds, default=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))


def _evidence(about: Mapping[str, Any]) -> dict[str, str]:
    return {"model": about["model"], "fingerprint": about["fingerprint"]}


def _rounded(value: Any) -> Any:
    """Seven digits are enough, and the same on every machine; no NaN reaches the JSON."""
    if isinstance(value, dict):
        return {name: _rounded(one) for name, one in value.items()}
    if isinstance(value, float):
        return float(f"{value:.7g}") if math.isfinite(value) else None
    return value
