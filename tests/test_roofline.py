"""Operations counted, rates interpolated, predictions with their source; chips, store, refining."""

import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from mlx_wan.bench import predictions
from mlx_wan.cli.main import run
from mlx_wan.errors import BadFileError, MlxWanError, UsageError
from mlx_wan.loading import open_model
from mlx_wan.models import vae_wan21, vae_wan22, wan
from mlx_wan.planning import make_plan
from mlx_wan.request import Request
from mlx_wan.roofline import calibrate, forwards, refine, store, work
from mlx_wan.roofline import rates as rates_module
from mlx_wan.roofline.chips import chips, find_chip, this_chip
from mlx_wan.roofline.predict import predict
from mlx_wan.roofline.rates import Rates, alone, pair_seconds
from mlx_wan.roofline.stages import loading_seconds, stage_seconds
from mlx_wan.text_length import expected_tokens

A14B = wan.WanConfig(
    dim=5120, ffn_dim=13824, num_heads=40, num_layers=40, in_dim=16, out_dim=16, text_dim=4096
)
TI2V = replace(A14B, dim=3072, ffn_dim=14336, num_heads=24, num_layers=30, in_dim=48, out_dim=48)
FLAT = Rates(dict.fromkeys(work.KINDS, ((1.0, 1.0, 1000000000.0),)), load=1e9)


def small_plan(**more):
    settings = {"width": 64, "height": 64, "steps": 4, "num_frames": 17, "seed": 1} | more
    return make_plan(Request("waves", model="wan-mini", **settings))


def seconds_of(plan, rates=FLAT) -> dict[str, float]:
    return stage_seconds(plan, open_model(plan.model_path), rates)


@pytest.mark.parametrize(
    "config, tokens, peta",
    [(A14B, 32_760, 1.678), (A14B, 75_600, 6.523), (TI2V, 27_280, 0.517)],
)
def test_flops_of_published_models(config, tokens, peta):
    assert wan.forward_flops(config, tokens) == pytest.approx(peta * 1e15, rel=0.002)
    counted = work.flops(wan.forward_work(config, tokens, config.text_len))
    assert counted == pytest.approx(peta * 1e15, rel=0.01)


def test_flops_of_published_vaes():
    decode21 = vae_wan21.decode_work(vae_wan21.WanVAE21Config(), 720, 1280, 81)
    decode22 = vae_wan22.decode_work(vae_wan22.WanVAE22Config(), 704, 1280, 121)
    assert work.flops(decode21) == pytest.approx(0.63e15, rel=0.03)
    assert work.flops(decode22) == pytest.approx(1.99e15, rel=0.03)
    one = vae_wan21.encode_work(vae_wan21.WanVAE21Config(), 480, 832, 1)
    many = vae_wan21.encode_work(vae_wan21.WanVAE21Config(), 480, 832, 81)
    assert 60 < work.flops(many) / work.flops(one) < 81  # less in time as well, further down


def test_rates_between_and_beyond_what_was_measured():
    points = ((64.0, 16.0, 1e9), (64.0, 1024.0, 4e9), (256.0, 16.0, 2e9), (256.0, 1024.0, 8e9))
    rates = replace(FLAT, points={**FLAT.points, work.LINEAR: points})
    assert alone(work.linear(1024, 64, 64), rates) == pytest.approx(2 * 1024 * 64**2 / 4e9)
    assert alone(work.linear(128, 64, 64), rates) == pytest.approx(2 * 128 * 64**2 / 2e9)
    assert alone(work.linear(1024, 128, 128), rates) == pytest.approx(
        2 * 1024 * 128**2 / math.sqrt(32e18)
    )
    smallest, smaller = (alone(work.linear(rows, 64, 64), rates) for rows in (16, 1))
    assert smaller == pytest.approx(smallest)  # a call takes a while however little it does
    assert alone(work.linear(2048, 64, 64), rates) == pytest.approx(2 * 2048 * 64**2 / 4e9)
    pair = replace(FLAT, pair=((0.01, 1.0), (1.0, 0.5)))
    assert pair_seconds(0.1, pair) == pytest.approx(2 * 0.1 * 0.75)
    assert pair_seconds(100, pair) == pytest.approx(100)


def test_stages_grow_with_the_plan():
    base = seconds_of(small_plan())
    assert seconds_of(small_plan(steps=8))["denoise"] > 1.8 * base["denoise"]
    assert seconds_of(small_plan(guidance_scale=1.0))["denoise"] < 0.6 * base["denoise"]
    longer = seconds_of(small_plan(num_frames=33))
    assert longer["decode"] > 1.7 * base["decode"] and longer["denoise"] > 1.7 * base["denoise"]
    slow = replace(FLAT, overhead=1e-4)
    assert seconds_of(small_plan(), slow)["denoise"] > base["denoise"]


def test_expected_tokens():
    assert expected_tokens("a red fox runs through fresh snow", 256_384, 512) in range(7, 12)
    assert expected_tokens("色" * 130, 256_384, 512) in range(110, 140)
    assert expected_tokens("x" * 9999, 256_384, 512) == 512
    assert expected_tokens("", 453, 128) == 1


def test_the_table_of_chips():
    assert find_chip("m3-ultra").id == "m3-ultra-60"  # the smaller one is promised
    assert find_chip("M3-Ultra-80").gpu_cores == 80
    assert this_chip("Apple M4 Max").id == "m4-max-32" and this_chip("Intel") is None
    assert this_chip("Apple M99") is None
    assert this_chip("Apple M5").id == "m5-10"
    for smaller in ("M1", "M2", "M3", "M4", "M4 Pro"):  # not in the table: nothing like a Max
        assert this_chip(f"Apple {smaller}") is None
    for chip in chips().values():
        assert 1 < chip.tflops < 200 and 50 < chip.bandwidth < 2000 and chip.basis and chip.as_of
    with pytest.raises(UsageError, match="m3") as error:
        find_chip("m3-giga")
    assert "m3-ultra-80" in error.value.hint
    # four forwards of A14B at 480p and 81 frames: 6.71 PFLOP, 383 s at 17.5 TFLOPS
    ops = wan.forward_work(A14B, 32_760, 512)
    rates = find_chip("m3-ultra").rates()
    assert 4 * sum(op.calls * alone(op, rates) for op in ops) == pytest.approx(383, rel=0.05)


def stored(**changes) -> Path:
    path = store.write_calibration(replace(FLAT, overhead=1e-5))
    if changes:
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return path


def test_a_calibration_comes_back():
    assert store.read_calibration() is None
    stored()
    found = store.read_calibration()
    assert found is not None and found.rates == replace(FLAT, overhead=1e-5)
    assert found.date.startswith("20")


def test_a_calibration_of_another_machine_is_refused():
    stored(machine=store.machine() | {"chip": "Apple M9"})
    with pytest.raises(MlxWanError, match="Apple M9") as error:
        store.read_calibration()
    assert "doctor --calibrate" in error.value.hint
    told = predict([small_plan()])
    assert told.seconds is None and "Apple M9" in told.note


def _rates(**changes) -> dict:
    path = stored()
    data = json.loads(path.read_text())["rates"] | changes
    path.unlink()
    return data


DAMAGED = [
    lambda: {"version": 1},
    lambda: {"rates": []},
    lambda: {"date": 5},
    lambda: {"machine": 5},
    lambda: {"versions": {"mlx": 5}},
    lambda: {"rates": _rates(load=0)},
    lambda: {"rates": _rates(load=True)},
    lambda: {"rates": _rates(factor=float("nan"))},
    lambda: {"rates": _rates(overhead=-1)},
    lambda: {"rates": _rates(widen="1")},
    lambda: {"rates": _rates(frame=float("inf"))},
    lambda: {"rates": _rates(pair=[])},
    lambda: {"rates": _rates(pair=[[1, 2, 3]])},
    lambda: {"rates": _rates(points={})},
    lambda: {"rates": _rates(points={kind: [[1, 1, "1"]] for kind in work.KINDS})},
    lambda: {"rates": _rates(points={kind: [[1, 1, 1]] * 999 for kind in work.KINDS})},
]


@pytest.mark.parametrize("changes", DAMAGED)
def test_a_damaged_calibration_is_told(changes):
    stored(**changes())
    with pytest.raises(BadFileError, match="no calibration"):
        store.read_calibration()


@pytest.mark.parametrize("raw", [b"", b"[" * 9999, b"\xff\xfe", b'{"format": 1e999}', b"[1]"])
def test_bytes_that_are_no_calibration_are_told(raw, capsys):
    stored().write_bytes(raw)
    with pytest.raises(BadFileError):
        store.read_calibration()
    assert run(["doctor", "--json"]) == 0  # says so and goes on
    assert "unusable" in json.loads(capsys.readouterr().out)["calibration"]


def test_calibrating_gives_rates_that_predict(monkeypatch):
    for name in ("_LINEAR", "_ATTENTION", "_CONV3D", "_CONV2D"):
        monkeypatch.setattr(calibrate, name, getattr(calibrate, name)[:1])
    monkeypatch.setattr(calibrate, "_ELEMENTS", (1 << 12,))
    monkeypatch.setattr(calibrate, "MOST_SECONDS", 0.0)
    monkeypatch.setattr(calibrate, "_GRIDS", (((1, 2, 2),), ((1, 4, 4),)))
    steps = []
    rates = calibrate.measure(report=lambda done, total, what: steps.append((done, total)))
    assert steps[-1][0] == steps[-1][1] == len(steps) - 1
    assert set(rates.points) == set(work.KINDS) and 0.5 <= rates.factor <= 2
    assert all(rate > 0 for points in rates.points.values() for *_, rate in points)
    store.write_calibration(rates)
    told = predict([small_plan()])
    assert told.source == "calibrated" and told.runs == 0
    assert all(0 < value < 1000 for value in told.seconds.values())


def test_a_prediction_says_where_it_comes_from():
    plan = small_plan()
    assert predict([plan]).seconds is None and "doctor --calibrate" in predict([plan]).note
    stored()
    told = predict([plan, plan])
    assert told.seconds["denoise"] == pytest.approx(2 * predict([plan]).seconds["denoise"])
    assert told.note.startswith("calibrated on 20") and told.peak_memory == plan.memory.stages()
    chip = predict([plan], "m3-ultra-80")
    assert (chip.source, chip.chip) == ("chip table", "m3-ultra-80")
    assert "not measured" in chip.note and chip.to_dict()["kind"] == "prediction"


def learned(plan, seconds) -> None:
    refine.learn_from([plan], refine.foretold([plan]), seconds)


def test_finished_runs_correct_predictions():
    stored()
    plan = small_plan()
    plain = predict([plan]).seconds
    for factor in (1.5, 1.5, 40.0):  # the last beside a busy machine
        learned(plan, {stage: factor * value for stage, value in plain.items()})
    told = predict([plan])
    assert told.seconds["denoise"] == pytest.approx(1.5 * plain["denoise"])
    assert told.runs == 3 and "corrected by 3 runs" in told.note
    assert predict([replace(plan, model_fingerprint="another")]).runs == 0
    for _ in range(20):
        learned(plan, {stage: 99 * value for stage, value in plain.items()})
    told = predict([plan])
    assert told.runs == refine.LAST
    assert told.seconds["denoise"] == pytest.approx(refine.MOST * plain["denoise"])
    beside = refine.beside(told, {"denoise": 2.0, "video": 9.0}, {"denoise": 5})
    assert beside["measured"] == {"seconds": {"denoise": 2.0}, "peak_memory": {"denoise": 5}}
    stored(date="2026-01-01")  # measured anew: what corrected the old one is no use
    assert predict([plan]).runs == 0


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"[" * 9999,
        b'{"format": "mlx-wan-predictions", "version": 1, "runs": [1]}',
        b'{"format": "mlx-wan-predictions", "version": 1, "runs": {"a": {"encode": "x"}}}',
        b'{"format": "mlx-wan-predictions", "version": 1, "runs": {"a": {"encode": [1e999, -1]}}}',
    ],
)
def test_damaged_corrections_are_as_good_as_none(raw):
    stored()
    plan = small_plan()
    before = predict([plan]).seconds
    refine._file().write_bytes(raw)
    assert predict([plan]).seconds == before
    learned(plan, before)
    assert predict([plan]).runs == 1


def test_plan_prints_seconds_by_stage(capsys):
    small = ["plan", "waves", "--width", "64", "--height", "64"]
    assert run([*small, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["prediction"]["source"] == "unknown"
    stored()
    assert run([*small, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["prediction"]
    assert told["seconds"].keys() == {"encode", "denoise", "decode"}
    assert run([*small, "--chip", "m3-ultra-80"]) == 0
    out = capsys.readouterr().out
    assert "time on m3-ultra-80, denoise" in out and "not" in out and "measured" in out
    assert run([*small, "--chip", "m0"]) == 2


def test_peak_memory_of_a_run_is_what_was_predicted(tmp_path):
    plan = small_plan(width=320, height=160, num_frames=5, steps=2)
    job = tmp_path / "plan.json"
    job.write_text(json.dumps(plan.to_dict()))
    command = [sys.executable, "-m", "mlx_wan.bench.predictions", "--job", str(job)]
    subprocess.run(command, check=True)
    found = json.loads(job.with_suffix(".measured.json").read_text())["peak_memory"]
    for stage in ("denoise", "decode"):
        assert plan.memory.stages()[stage] == pytest.approx(found[stage], rel=0.1), stage


def test_runs_that_finish_at_once_lose_nothing():
    stored()
    code = (
        "import sys, json; from mlx_wan.plan import Plan; from mlx_wan.roofline import refine;"
        "from dataclasses import replace; plan = Plan.from_dict(json.loads(sys.argv[1]));"
        "refine._key(plan); print('ready', flush=True); sys.stdin.readline();"
        "[refine.remember(replace(plan, model_fingerprint=f'{sys.argv[2]}{i}'), {'denoise': 1.0},"
        " {'denoise': 2.0}) for i in range(50)]"
    )
    told, pipe = json.dumps(small_plan().to_dict()), subprocess.PIPE
    both = [
        subprocess.Popen([sys.executable, "-c", code, told, name], stdin=pipe, stdout=pipe)
        for name in "ab"
    ]
    assert [process.stdout.readline() for process in both] == [b"ready\n"] * 2
    for process in both:
        process.stdin.write(b"go\n")
        process.stdin.flush()
    assert [process.communicate(timeout=120) and process.returncode for process in both] == [0, 0]
    assert len(refine._read()) == 100


def test_a_run_is_predicted_once_and_learns_from_what_was_not_corrected():
    stored()
    plan = small_plan()
    plain = predict([plan]).seconds
    learned(plan, {stage: 2 * value for stage, value in plain.items()})
    told = refine.foretold([plan])
    assert told.seconds["denoise"] == pytest.approx(2 * plain["denoise"])
    assert told.uncorrected == plain and "uncorrected" not in told.to_dict()
    learned(plan, {stage: 2 * value for stage, value in plain.items()})
    assert predict([plan]).seconds["denoise"] == pytest.approx(2 * plain["denoise"])
    assert refine.beside(None, {"denoise": 2.0}, {}) is None


def forward(count: int, amount: float, factor: float, overhead: float, share=0.6):
    ops = (work.Op(work.LINEAR, amount, 1.0, 1.0, count),)
    one = count * (factor * amount / 1e9 + overhead)
    return forwards.Forward(ops, one, 2 * one * share)


def test_what_networks_take_beside_their_operations_is_found():
    made = [
        forward(*size, factor=1.2, overhead=3e-5) for size in ((160, 1e4), (160, 1e6), (50, 5e6))
    ]
    rates = forwards.fitted(FLAT, made)
    assert rates.factor == pytest.approx(1.2) and rates.overhead == pytest.approx(3e-5)
    assert pair_seconds(made[1].one, rates) == pytest.approx(made[1].two)
    for f in made:
        assert rates_module.seconds(f.ops, rates) == pytest.approx(f.one)
    faster = forwards.fitted(FLAT, [forward(160, 1e4, 0.7, 0), forward(50, 5e6, 0.9, 0)])
    assert faster.overhead == 0 and 0.7 < faster.factor < 0.9
    one = forwards.middle([replace(made[0], one=value) for value in (1.0, 9.0, 2.0)])
    assert one.one == 2.0 and one.two == made[0].two


def test_loading_counts_what_is_read_and_what_is_widened():
    folder = open_model(small_plan().model_path)
    component = folder[folder.preset.experts[0].name]
    rates = replace(FLAT, load=2e9, widen=1e-9)
    plain = loading_seconds(component, component.nbytes, rates)
    assert plain == pytest.approx(component.nbytes / 2e9)
    widened = loading_seconds(component, 2 * component.nbytes, rates)
    assert widened - plain == pytest.approx(component.nbytes * 1e-9)


@pytest.mark.parametrize("enough, passes", [(-1.0, 1), (99.0, 3)])
def test_a_slow_machine_is_calibrated_in_fewer_passes(monkeypatch, enough, passes):
    ran = []

    def job():
        ran.append(1)
        return (1.0, 1.0, 1e9)

    monkeypatch.setattr(calibrate, "_jobs", lambda clock: [(work.LINEAR, job)])
    monkeypatch.setattr(calibrate, "fitted", lambda rates, forwards: rates)
    monkeypatch.setattr(calibrate, "ENOUGH", enough)
    assert calibrate.measure().points[work.LINEAR] == ((1.0, 1.0, 1e9),)
    assert len(ran) == passes


def test_the_bench_compares_medians_and_tells_the_load(monkeypatch):
    def row(predicted, measured):
        peaks = {"predicted_memory": {"denoise": 10}, "measured_memory": {"denoise": 10}}
        return {"predicted": {"denoise": predicted}, "measured": {"denoise": measured}} | peaks

    told = predictions.summary([row(1.0, 1.0), row(1.2, 1.0), row(1.0, 1.3)])
    assert (told["middle_time"], told["worst_time"], told["time_within"]) == (1.0, 1.3, 2)
    assert not told["passed"] and predictions.summary([row(1.2, 1.0)])["passed"]
    runs = [dict.fromkeys(predictions.STAGES, value) for value in (1.0, 9.0, 2.0)]
    assert predictions._medians(runs)["denoise"] == 2.0
    # seconds of all cores, busy, stolen, our own
    times = iter([(100.0, 50.0, 5.0, 20.0), (200.0, 120.0, 6.0, 60.0), None])
    monkeypatch.setattr(predictions.Load, "_now", lambda self: next(times))
    load = predictions.Load()
    assert "others had 30% of the cores, 1% was stolen" in load.told()
    assert "not known" in load.told()
