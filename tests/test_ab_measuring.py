"""Runs of a comparison are measured once each, and again when what they are compared with is."""

import json
import shutil

from ab_folders import fails, make_folder

from mlx_wan.bench.ab.measuring import measure_runs
from mlx_wan.bench.ab.results import read_experiment, read_runs
from mlx_wan.files import file_sha256


def unmeasured(id, run):
    run |= {"metrics": {}, "gates": {}, "hashes": {"video": id}}


def runs_of(folder):
    return {one.run.name: one for one in read_runs(read_experiment(folder))}


def test_what_was_measured_is_left_unless_asked_again(tmp_path):
    folder = make_folder(tmp_path, prompts=1, seeds=2, change=unmeasured, num_frames=5)
    experiment, told = read_experiment(folder), []
    assert measure_runs(experiment, report=lambda done, total: told.append((done, total))) == 4
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]
    runs = runs_of(folder)
    assert runs["a-p00-0"].reference is None and runs["a-p00-0"].metrics["psnr"] is None
    assert runs["b-p00-0"].reference == "a" and runs["b-p00-0"].metrics["psnr"] > 5
    assert measure_runs(experiment) == 0
    assert measure_runs(experiment, again=True) == 4


def test_a_first_variant_made_again_is_compared_with(tmp_path):
    """While A's run had failed, B's nearness to it was empty."""

    def change(id, run):
        unmeasured(id, run)
        if id == "a" and run["seed"] == 0:
            fails(run)

    folder = make_folder(tmp_path, prompts=1, seeds=2, change=change, num_frames=5)
    experiment = read_experiment(folder)
    assert measure_runs(experiment) == 3
    before = runs_of(folder)
    assert before["b-p00-0"].metrics["psnr"] is None and before["b-p00-0"].gates
    again = before["a-p00-0"].folder  # as `bench ab --retry-failed` leaves it
    shutil.copy(before["a-p00-1"].video, again / "video.mp4")
    run = json.loads((before["a-p00-1"].folder / "run.json").read_text())
    run |= {"seed": 0, "metrics": {}, "gates": {}, "earlier_errors": ["killed by signal 9"]}
    run |= {"hashes": {"video": file_sha256(again / "video.mp4")}}
    (again / "run.json").write_text(json.dumps(run))
    assert measure_runs(experiment) == 2  # the new one, and what is compared with it
    after = runs_of(folder)
    assert after["b-p00-0"].metrics["psnr"] == before["b-p00-1"].metrics["psnr"] is not None
    assert after["b-p00-0"].metrics["ssim"] is not None
    assert measure_runs(experiment) == 0


def test_a_damaged_video_fails_its_own_gate_alone(tmp_path):
    folder = make_folder(tmp_path, prompts=1, seeds=1, change=unmeasured, num_frames=5)
    runs_of(folder)["a-p00-0"].video.write_bytes(b"no video")
    measure_runs(read_experiment(folder))
    runs = runs_of(folder)
    assert runs["a-p00-0"].gates == {"readable": False}
    assert all(runs["b-p00-0"].gates.values()) and runs["b-p00-0"].metrics["psnr"] is None
    assert measure_runs(read_experiment(folder)) == 0
