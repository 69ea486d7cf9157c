"""Hub ids: only downloaded when named, only what is needed, at one commit; clear when offline."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from checkpoints import build
from hub_server import ALWAYS, FakeHub, Fault

from mlx_wan.convert import convert, hub, verify
from mlx_wan.errors import ModelError, UsageError
from mlx_wan.registry.catalogue import known_models

REPO = "Wan-AI/Wan2.1-T2V-1.3B"
WANTED = [
    "Wan2.1_VAE.pth",
    "config.json",
    "diffusion_pytorch_model.safetensors",
    "google/umt5-xxl/spiece.model",
    "models_t5_umt5-xxl-enc-bf16.pth",
]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A published repository: what is needed, and what is not."""
    folder = tmp_path_factory.mktemp("published")
    build(folder, "wan2.1-t2v-1.3b")
    published = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
    assert sorted(published) == WANTED
    return published | dict.fromkeys(("README.md", "a/demo.png", "models_clip_xlm.pth"), b"x")


@pytest.fixture
def fake_hub(files, library_folders, monkeypatch):
    from huggingface_hub import constants

    with FakeHub({REPO: files}) as fake:
        monkeypatch.setattr(constants, "ENDPOINT", fake.url)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(library_folders / "cache"))
        yield fake


def test_a_hub_id_is_downloaded_at_one_commit_and_converted(fake_hub, tmp_path):
    events = []
    made = convert(REPO, tmp_path / "made", progress=events.append)
    assert verify(made) == []
    commit = fake_hub.commit(REPO)
    start = f"/{REPO}/resolve/{commit}/"
    asked = [asked.path for asked in fake_hub.asked if asked.where == "file"]
    assert sorted(path.removeprefix(start) for path in asked) == WANTED
    assert events[0].stage == "download" and "5 files" in events[0].detail
    assert events[0].total == sum(len(fake_hub.repos[REPO][name]) for name in WANTED)
    config = (made / "config.json").read_text()
    assert f'"path": "{REPO}"' in config and f'"revision": "{commit}"' in config


def test_a_second_conversion_downloads_nothing(fake_hub, tmp_path):
    convert(REPO, tmp_path / "made")
    fake_hub.asked.clear()
    convert(REPO, tmp_path / "again")
    assert [asked.where for asked in fake_hub.asked] == ["info"]


def test_a_file_that_comes_wrong_is_never_converted(fake_hub, tmp_path):
    fake_hub.faults = [Fault("flip", "cdn", ALWAYS, at=5)]
    with pytest.raises(ModelError, match="it was not used"):
        convert(REPO, tmp_path / "made")
    assert not (tmp_path / "made").exists()


def test_an_existing_path_is_never_looked_up(fake_hub, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    build(tmp_path / "Wan-AI" / "Wan2.1-T2V-1.3B", "wan2.1-t2v-1.3b")
    convert(REPO, tmp_path / "made")
    assert fake_hub.asked == []


@pytest.mark.parametrize(
    "source", ["a/b/c", "no such folder", "/nowhere", "~/nowhere/x", "x", "../a"]
)
def test_what_cannot_be_an_id_is_no_question_to_the_hub(source, fake_hub, tmp_path):
    with pytest.raises(ModelError, match="does not exist"):
        convert(source, tmp_path / "made")
    assert fake_hub.asked == []


def go_offline(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("time.sleep", lambda _: None)


def test_offline_with_an_empty_cache_is_a_clear_error(fake_hub, tmp_path, monkeypatch):
    go_offline(monkeypatch)
    with pytest.raises(ModelError, match=r"hub does not answer: .*cannot be reached") as error:
        convert(REPO, tmp_path / "made")
    assert "give its folder" in error.value.hint


def test_offline_with_all_of_it_in_the_cache_works(fake_hub, tmp_path, monkeypatch):
    convert(REPO, tmp_path / "first")
    go_offline(monkeypatch)
    made = convert(REPO, tmp_path / "made")
    assert Path(made / "config.json").read_text() == Path(tmp_path, "first/config.json").read_text()


def test_the_real_client_offline(tmp_path):
    """HF_HUB_OFFLINE as people set it; nothing of the client is replaced."""
    script = (
        "import sys; from mlx_wan.cli.main import run;"
        f"sys.exit(run(['convert', {REPO!r}, {str(tmp_path / 'made')!r}]))"
    )
    environment = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "home"), "PATH": ""}
    told = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True
    )
    assert told.returncode == 1
    lines = told.stderr.strip().splitlines()
    assert lines[-2].startswith(f"error: {REPO} is neither a folder here nor in the cache")
    assert "Traceback" not in told.stderr and not (tmp_path / "made").exists()


def test_unknown_and_gated_repositories(fake_hub, tmp_path):
    with pytest.raises(ModelError, match="no such repository"):
        convert("Wan-AI/Other", tmp_path / "made")
    gated = {"X-Error-Code": "GatedRepo"}
    fake_hub.faults = [Fault("status", "info", at=403, value=gated)]
    with pytest.raises(ModelError, match="terms accepted"):
        convert(REPO, tmp_path / "made")


def test_a_repository_that_does_not_fit_on_the_disk(fake_hub, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(ModelError, match=r"0\.00 GB free"):
        convert(REPO, tmp_path / "made")
    assert [asked.where for asked in fake_hub.asked] == ["info"]


COMFY = [
    "split_files/diffusion_models/wan2.2_t2v_high_noise_14B_fp16.safetensors",
    "split_files/diffusion_models/wan2.2_t2v_low_noise_14B_fp16.safetensors",
    "split_files/diffusion_models/wan2.2_t2v_high_noise_14B_fp8_scaled.safetensors",
    "split_files/diffusion_models/wan2.2_i2v_high_noise_14B_fp16.safetensors",
    "split_files/diffusion_models/wan2.2_i2v_low_noise_14B_fp16.safetensors",
    "split_files/diffusion_models/wan2.2_ti2v_5B_fp16.safetensors",
    "split_files/vae/wan_2.1_vae.safetensors",
    "split_files/vae/wan2.2_vae.safetensors",
    "split_files/text_encoders/umt5_xxl_fp16.safetensors",
    "split_files/text_encoders/umt5_xxl_fp8_e4m3fn_scaled.safetensors",
]


def test_of_a_comfyui_repository_one_model_is_taken():
    wanted = hub.wanted_files("Comfy-Org/x", COMFY, "wan2.2-t2v-a14b")
    assert wanted == [COMFY[0], COMFY[1], COMFY[6], COMFY[8]]
    assert hub.wanted_files("x/y", COMFY, "wan2.2-ti2v-5b") == [COMFY[5], COMFY[7], COMFY[8]]
    with pytest.raises(UsageError, match="several models"):
        hub.wanted_files("Comfy-Org/x", COMFY, None)
    with pytest.raises(ModelError, match="has no diffusion_models"):
        hub.wanted_files("Comfy-Org/x", COMFY, "wan2.1-t2v-1.3b")


def test_of_a_diffusers_repository_everything_that_counts_is_taken():
    names = [
        "model_index.json",
        "transformer/config.json",
        "transformer/diffusion_pytorch_model-00001-of-00002.safetensors",
        "transformer/diffusion_pytorch_model.safetensors.index.json",
        "text_encoder/model-00001-of-00003.safetensors",
        "tokenizer/spiece.model",
        "tokenizer/tokenizer.json",
        "tokenizer/merges.txt",
        "vae/config.json",
        "examples/i2v_input.JPG",
        "scheduler/scheduler_config.json",
    ]
    assert hub.wanted_files("x/y", names, None) == names[1:9]


MOCHI = [file.path for file in known_models()["mochi-1"].source.files]


def test_of_a_known_repository_the_files_of_its_catalogue_are_taken():
    """Mochi's holds its weights in three layouts, 140 GB."""
    others = ["dit.safetensors", "encoder.safetensors", "decoder.safetensors"]
    names = sorted([*MOCHI, *others, "transformer/diffusion_pytorch_model.safetensors"])
    for model in (None, "mochi-1"):
        assert hub.wanted_files("genmo/mochi-1-preview", names, model) == MOCHI
    assert hub.wanted_files("someone/mochi", names, None) == [
        name for name in names if name.endswith((".safetensors", ".json", ".model"))
    ]
    # a revision that has other files is taken as any other repository
    assert hub.wanted_files("genmo/mochi-1-preview", others, None) == others
    with pytest.raises(UsageError, match="not known to hold wan2"):
        hub.wanted_files("genmo/mochi-1-preview", names, "wan2.1-t2v-1.3b")


@pytest.mark.parametrize("model", [None, "hunyuanvideo-1.5-480p-t2v"])
def test_a_repository_that_is_not_all_of_a_model_is_not_fetched(model):
    names = ["transformer/480p_t2v/config.json", "vae/config.json"]
    with pytest.raises(UsageError) as error:
        hub.wanted_files("tencent/HunyuanVideo-1.5", names, model)
    assert (model or "choose one with --model: hunyuanvideo-1.5-480p-t2v") in error.value.hint
    assert model is None or "models download" in error.value.hint


@pytest.mark.parametrize("model", ["mochi-1", "hunyuanvideo-1.5-720p-t2v"])
def test_of_comfyuis_files_without_a_tokenizer_nothing_is_fetched(model):
    with pytest.raises(UsageError, match="without its tokenizer") as error:
        hub.wanted_files("Comfy-Org/x", COMFY, model)
    assert f"models download {model} --convert" in error.value.hint
