"""Videos put into the library and found again."""

import json

import pytest

from mlx_wan import library
from mlx_wan.errors import MlxWanError, UsageError
from mlx_wan.record import ID_PATTERN, new_id


def finished_video(name: str, stage: str = "raw", **record) -> library.Path:
    """A video (some bytes) with its record, in the folder of a stage."""
    video = library.stage_folder(stage) / f"{name}.mp4"
    video.parent.mkdir(parents=True, exist_ok=True)
    video.write_bytes(name.encode() * 100)
    record = {"format": "mlx-wan-record", "version": 1, "video": video.name} | record
    video.with_suffix(".json").write_text(json.dumps(record))
    return video


def test_ids_sort_by_time():
    ids = [new_id() for _ in range(50)]
    assert all(ID_PATTERN.fullmatch(one) for one in ids)
    assert [one[:8] for one in ids] == sorted(one[:8] for one in ids)
    assert len(set(ids)) == 50


def test_what_is_added_is_found_by_id_prefix_and_name():
    video = finished_video("waves", plan={"prompt": "calm waves", "model": "wan-mini"})
    id = library.add(video)
    for name in (id, id[:5], id.upper(), "waves", "waves.mp4"):
        assert library.find(name).video == video
    assert library.find(id).model == "wan-mini"
    assert json.loads(video.with_suffix(".json").read_text())["id"] == id


def test_what_is_not_there_is_said():
    with pytest.raises(MlxWanError, match="no video 'nothing'"):
        library.find("nothing")


def test_an_unknown_stage_is_refused():
    with pytest.raises(UsageError, match="stage is 'done'"):
        library.stage_folder("done")
