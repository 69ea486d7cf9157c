"""`mlx-wan convert --verify`: every kind of damage is found and named."""

import json

import pytest
from checkpoints import build

from mlx_wan.cli.main import run
from mlx_wan.convert import convert, verify
from mlx_wan.errors import BadFileError, ModelError

SHARD = "transformer/model-00001-of-00001.safetensors"


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("verify")
    build(folder / "source", "wan2.1-t2v-1.3b")
    return convert(folder / "source", folder / "made", quantize=8)


@pytest.fixture
def model(converted, tmp_path):
    import shutil

    return shutil.copytree(converted, tmp_path / "model")


def flip(path, at=-100):
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def edit(path, change):
    settings = json.loads(path.read_text())
    change(settings)
    path.write_text(json.dumps(settings))


def rehash(model, name):
    """Make the hash fit again, so that only the other checks are left."""
    from mlx_wan.files import file_sha256

    def change(settings):
        file = model / name
        settings["files"][name] = {"size": file.stat().st_size, "sha256": file_sha256(file)}

    edit(model / "config.json", change)


def test_a_whole_folder_has_no_problems(model, capsys):
    assert verify(model) == []
    assert run(["convert", "--verify", str(model)]) == 0
    assert "is whole" in capsys.readouterr().out


DAMAGES = {
    "one bit of a weight": (lambda m: flip(m / SHARD), f"{SHARD}: has other contents"),
    "one bit of the tokenizer": (
        lambda m: flip(m / "tokenizer/spiece.model"),
        "tokenizer/spiece.model: has other contents",
    ),
    "one bit of an index": (
        lambda m: flip(m / "vae/model.safetensors.index.json"),
        "vae/model.safetensors.index.json: has other contents",
    ),
    "a missing shard": (lambda m: (m / SHARD).unlink(), f"{SHARD}: is missing"),
    "a cut shard": (
        lambda m: (m / SHARD).write_bytes((m / SHARD).read_bytes()[:-8]),
        f"{SHARD}: has ",
    ),
    "weights that nobody listed": (
        lambda m: (m / "transformer/more.safetensors").write_bytes(b"x"),
        "transformer/more.safetensors: is not listed",
    ),
    "a config of another size": (
        lambda m: edit(
            m / "config.json",
            lambda c: c["components"]["text_encoder"]["config"].update(dim_ffn=192),
        ),
        "against the config",
    ),
    "another quantisation": (
        lambda m: edit(
            m / "config.json",
            lambda c: c["components"]["transformer"].update(
                quantization={"bits": 4, "group_size": 64}
            ),
        ),
        "against the config",
    ),
    "a file without a hash": (
        lambda m: edit(m / "config.json", lambda c: c["files"].pop(SHARD)),
        "has no hash",
    ),
    "a path outside": (
        lambda m: edit(
            m / "config.json", lambda c: c["files"].update({"../x": {"size": 0, "sha256": ""}})
        ),
        "../x: lies outside",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_found_and_named(damage, model, capsys):
    change, told = DAMAGES[damage]
    change(model)
    problems = verify(model)
    assert any(told in problem for problem in problems), problems
    assert run(["convert", "--verify", str(model)]) == 1
    printed = capsys.readouterr()
    assert told in printed.out and printed.err.startswith("error: ")
    assert "Traceback" not in printed.err


def test_a_broken_header_with_a_fitting_hash_is_still_found(model):
    data = (model / SHARD).read_bytes().replace(b'"dtype":"BF16"', b'"dtype":"BF61"', 1)
    (model / SHARD).write_bytes(data)
    rehash(model, SHARD)
    assert any("BF61" in problem for problem in verify(model))


def test_a_lost_tensor_with_a_fitting_hash_is_still_found(model):
    import numpy as np

    from mlx_wan.bench.synthetic import write_safetensors

    name = "text_encoder/model-00001-of-00001.safetensors"
    write_safetensors(model / name, {"norm.weight": np.ones(64, np.float32)})
    rehash(model, name)
    assert any("no shard of it has" in problem for problem in verify(model))


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"", BadFileError),
        (b"[]", BadFileError),
        (b'{"format": "mlx-wan", "format_version": 1}', BadFileError),
        (b'{"format": "mlx-wan", "format_version": 1, "files": 3, "components": {}}', BadFileError),
        (b'{"format": "mlx-wan", "format_version": 2}', ModelError),
        (b'{"format": "other"}', ModelError),
    ],
)
def test_what_is_no_config_of_ours(content, kind, tmp_path):
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(kind):
        verify(tmp_path)


def test_verify_takes_no_second_folder(model, capsys):
    assert run(["convert", str(model), "--verify", str(model)]) == 2
