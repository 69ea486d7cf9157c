"""Hub ids: only downloaded when named, only what is needed, at one commit; clear when offline."""

import subprocess
import sys
from types import SimpleNamespace

import huggingface_hub
import pytest
from checkpoints import build

from mlx_wan.convert import convert, hub, verify
from mlx_wan.errors import ModelError, UsageError

REPO = "Wan-AI/Wan2.1-T2V-1.3B"


@pytest.fixture
def fake_hub(tmp_path, monkeypatch):
    """A hub whose one repository is the folder tmp_path/hub; records what is asked of it."""
    folder = tmp_path / "hub"
    build(folder, "wan2.1-t2v-1.3b")
    for name in ("README.md", "assets/demo.png", "models_clip_xlm.pth"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    asked = SimpleNamespace(folder=folder, downloads=[], error=None)

    def model_info(self, repo, files_metadata):
        if asked.error:
            raise asked.error
        files = [path for path in folder.rglob("*") if path.is_file()]
        siblings = [
            SimpleNamespace(rfilename=f.relative_to(folder).as_posix(), size=f.stat().st_size)
            for f in files
        ]
        return SimpleNamespace(siblings=siblings, sha="c0ffee")

    def snapshot_download(repo, *, allow_patterns, revision=None, local_files_only=False):
        if asked.error:
            raise asked.error
        asked.downloads.append((repo, revision, sorted(allow_patterns)))
        return str(folder)

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", model_info)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    return asked


def test_a_hub_id_is_downloaded_at_one_commit_and_converted(fake_hub, tmp_path):
    events = []
    made = convert(REPO, tmp_path / "made", progress=events.append)
    assert verify(made) == []
    ((repo, revision, wanted),) = fake_hub.downloads
    assert (repo, revision) == (REPO, "c0ffee")
    assert wanted == [
        "Wan2.1_VAE.pth",
        "config.json",
        "diffusion_pytorch_model.safetensors",
        "google/umt5-xxl/spiece.model",
        "models_t5_umt5-xxl-enc-bf16.pth",
    ]
    assert events[0].stage == "download" and "5 files" in events[0].detail
    config = (made / "config.json").read_text()
    assert f'"path": "{REPO}"' in config and '"revision": "c0ffee"' in config


def test_an_existing_path_is_never_looked_up(fake_hub, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    build(tmp_path / "Wan-AI" / "Wan2.1-T2V-1.3B", "wan2.1-t2v-1.3b")
    convert(REPO, tmp_path / "made")
    assert fake_hub.downloads == []


@pytest.mark.parametrize(
    "source", ["a/b/c", "no such folder", "/nowhere", "~/nowhere/x", "x", "../a"]
)
def test_what_cannot_be_an_id_is_no_question_to_the_hub(source, fake_hub, tmp_path):
    fake_hub.error = AssertionError("asked the hub")
    with pytest.raises(ModelError, match="does not exist"):
        convert(source, tmp_path / "made")


def test_offline_with_an_empty_cache_is_a_clear_error(fake_hub, tmp_path):
    fake_hub.error = ConnectionError("no route to host")
    with pytest.raises(ModelError, match=r"hub does not answer: no route to host") as error:
        convert(REPO, tmp_path / "made")
    assert "give its folder" in error.value.hint


def test_offline_with_all_of_it_in_the_cache_works(fake_hub, tmp_path, monkeypatch):
    def unreachable(self, repo, files_metadata):
        raise ConnectionError

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", unreachable)
    convert(REPO, tmp_path / "made")
    assert fake_hub.downloads == [(REPO, None, sorted(hub._PATTERNS))]


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
    from huggingface_hub import errors

    response = SimpleNamespace(headers={}, request=None, status_code=404)
    for kind, told in (
        (errors.RepositoryNotFoundError, "no repository of the hub"),
        (errors.GatedRepoError, "terms to be accepted"),
    ):
        fake_hub.error = kind("nope", response=response)
        with pytest.raises(ModelError, match=told):
            convert(REPO, tmp_path / "made")


def test_a_repository_that_does_not_fit_on_the_disk(fake_hub, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(ModelError, match=r"0\.00 GB free"):
        convert(REPO, tmp_path / "made")
    assert fake_hub.downloads == []


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
        "vae/config.json",
        "examples/i2v_input.JPG",
        "scheduler/scheduler_config.json",
    ]
    assert hub.wanted_files("x/y", names, None) == [*names[1:6], names[7]]
