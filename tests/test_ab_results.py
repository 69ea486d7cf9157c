"""A result folder from a stranger: every value is checked, no path of it is followed."""

import json
import os
import shutil
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlx_wan.bench.ab import compare as comparing
from mlx_wan.bench.ab import results
from mlx_wan.bench.ab.checks import MAX_BYTES
from mlx_wan.bench.ab.experiment import Experiment
from mlx_wan.bench.ab.prompts import Prompt
from mlx_wan.bench.ab.variants import build_variants
from mlx_wan.errors import BadFileError, MlxWanError, UsageError

CHILD = (sys.executable, "-S", str(Path(__file__).with_name("ab_child.py")))


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """One prompt through two variants."""
    built = tuple(build_variants(["wan-mini:steps=2", "wan-mini:steps=3"]))
    folder = tmp_path_factory.mktemp("ab") / "results"
    comparing.compare(Experiment(built, (Prompt("p", "sea", "low"),), (0,)), folder, child=CHILD)
    return folder


@pytest.fixture
def folder(made, tmp_path) -> Path:
    return shutil.copytree(made, tmp_path / "results")


def read(folder: Path) -> list[results.RunResult]:
    return results.read_runs(results.read_experiment(folder), warmups=True)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_what_we_write_is_read(folder):
    assert {one.run.name for one in read(folder)} == {
        *("a-p-0", "a-p-0-warmup", "b-p-0", "b-p-0-warmup"),
    }


HUGE = "9" * 5000


@pytest.mark.parametrize(
    "change",
    [
        *({"variant": "z"}, {"variant": "b"}, {"variant": ["a"]}, {"prompt": "../p"}),
        *({"seed": 1}, {"seed": True}, {"seed": -1}, {"seed": 0.0}, {"seed": "0"}),
        *({"repeat": 0}, {"repeat": 2}, {"repeat": None}, {"warmup": True}, {"warmup": 0}),
        *({"state": "failed"}, {"state": "fine"}, {"state": None}),
        *({"video": "/etc/passwd"}, {"video": "../b-p-0/video.mp4"}, {"video": None}),
        *({"video": "run.json"}, {"latents": "/etc/passwd"}, {"latents": 5}),
        *({"seconds": {}}, {"seconds": None}, {"seconds": []}, {"seconds": {"denoise": 1}}),
        {"seconds": {"encode": 1, "denoise": "2", "decode": 1, "save": 1}},
        {"seconds": {"encode": 1, "denoise": -2, "decode": 1, "save": 1}},
        {"seconds": {"encode": 1, "denoise": 1e300, "decode": 1, "save": 1}},
        *({"seconds_per_step": "fast"}, {"seconds_per_step": -1}, {"step_seconds": {}}),
        *({"step_seconds": [None]}, {"peak_memory": {"denoise": 1e30}}, {"peak_memory": [1]}),
        *({"bytes_on_disk": -1}, {"peak_rss": 0.5}, {"metrics": {"flicker": "low"}}),
        *({"metrics": {"flicker": True}}, {"metrics": []}, {"gates": {"black": 1}}),
        *({"gates": {"black": None}}, {"hashes": {"video": 5}}, {"started": 5}, {"commit": 5}),
        {"metrics": {str(number): 1.0 for number in range(1000)}},
        *({"work": {"flops": "many"}}, {"earlier_errors": "x"}, {"earlier_errors": [None]}),
    ],
    ids=lambda change: json.dumps(change)[:50],
)
def test_a_run_changed_by_hand_is_refused(change, folder):
    file = folder / "runs" / "a-p-0" / "run.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(BadFileError) as refused:
        read(folder)
    assert "a-p-0" in str(refused.value)


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", "null", '"text"', '{"seed": NaN}', '{"seed": 0, "seed": 0}'),
        *("[" * 100_000, '{"seed": ' + HUGE + "}", "\0", "﻿{}", '{"a": 1e999}'),
    ],
    ids=lambda text: text[:20],
)
def test_a_run_that_is_no_json_object_is_refused(text, folder):
    for file in (folder / "runs" / "a-p-0" / "run.json", folder / "experiment.json"):
        file.write_text(text)
        with pytest.raises(MlxWanError):
            read(folder)


@pytest.mark.parametrize("name", ["video.mp4", "latents.npy", "run.json"])
@pytest.mark.parametrize("kind", ["link", "broken link", "pipe", "folder", "missing"])
def test_links_pipes_and_holes_are_not_followed(name, kind, folder, tmp_path):
    path = folder / "runs" / "a-p-0" / name
    outside = tmp_path / "outside"
    shutil.copy(path, outside)
    path.unlink()
    if kind == "link":
        path.symlink_to(outside)
    elif kind == "broken link":
        path.symlink_to(tmp_path / "nowhere")
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    with pytest.raises(BadFileError):
        read(folder)


def test_linked_folders_are_not_followed(folder, tmp_path):
    run = folder / "runs" / "a-p-0"
    run.rename(tmp_path / "elsewhere")
    run.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BadFileError, match="link"):
        read(folder)
    run.unlink()
    (folder / "runs").rename(tmp_path / "runs")
    (folder / "runs").symlink_to(tmp_path / "runs")
    with pytest.raises(BadFileError, match="link"):
        read(folder)


def test_files_among_the_runs_are_refused_and_hidden_ones_passed_over(folder):
    (folder / "runs" / ".a-p-0.77.partial").mkdir()
    assert len(read(folder)) == 4
    (folder / "runs" / "a-p-0; rm -rf").mkdir()
    with pytest.raises(BadFileError):
        read(folder)


def test_a_file_too_large_is_refused_unread(folder):
    with (folder / "runs" / "a-p-0" / "run.json").open("r+b") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(BadFileError, match="too large"):
        read(folder)


@pytest.mark.parametrize(
    "change",
    [
        *({"format": "other"}, {"version": 2}, {"version": True}, {"variants": {}}),
        *({"variants": []}, {"variants": {"a": {}}}, {"variants": {"a": 5, "b": 6}}),
        *({"prompts": []}, {"prompts": [5]}, {"seeds": []}, {"seeds": "01"}, {"seeds": [0.5]}),
        *({"repeats": 0}, {"repeats": "1"}, {"repeats": 10**9}, {"machine": [1]}),
        *({"versions": None}, {"machine": "fast"}),
    ],
    ids=json.dumps,
)
def test_an_experiment_changed_by_hand_is_refused(change, folder):
    file = folder / "experiment.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(BadFileError):
        read(folder)


def test_variants_in_another_order_or_without_weights_are_refused(folder):
    file = folder / "experiment.json"
    data = json.loads(file.read_text())
    swapped = {"b": data["variants"]["b"], "a": data["variants"]["a"]}
    for variants in (swapped, {**data["variants"], "a": {"label": "x"}}):
        file.write_text(json.dumps(data | {"variants": variants}))
        with pytest.raises(BadFileError):
            read(folder)


def test_a_folder_that_is_no_comparison_is_told(tmp_path):
    with pytest.raises(UsageError, match="no A/B comparison"):
        results.read_experiment(tmp_path)
    with pytest.raises(UsageError):
        results.read_experiment(tmp_path / "nowhere")


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_any_value_anywhere_is_read_or_refused(data, made, tmp_path):
    """Never a traceback."""
    folder = tmp_path / "fuzzed"
    if not folder.exists():
        shutil.copytree(made, folder)
    kept = [folder / "experiment.json", folder / "runs" / "a-p-0" / "run.json"]
    originals = [file.read_bytes() for file in kept]
    which = data.draw(st.integers(0, 1))
    values = json.loads(originals[which])
    values[data.draw(st.sampled_from(sorted(values)))] = data.draw(anything)
    kept[which].write_text(json.dumps(values))
    try:
        assert {one.folder.name for one in read(folder)} == names(folder / "runs")
    except MlxWanError as error:
        assert str(folder) in error.message and "\n" not in error.message
    finally:
        for file, original in zip(kept, originals, strict=True):
            file.write_bytes(original)
