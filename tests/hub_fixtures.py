"""The fake hub as fixtures, with one small repository; and the client pointed at it."""

import pytest
from hub_server import FILES, REPO, FakeHub


@pytest.fixture(scope="module")
def the_hub():
    with FakeHub({REPO: FILES}) as hub:
        yield hub


@pytest.fixture
def hub(the_hub, library_folders, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", the_hub.url)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(library_folders / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_TOKEN", "hf_canary")
    the_hub.faults, the_hub.asked, the_hub.change_listing = [], [], None
    the_hub.repos, the_hub.token, the_hub.gated = {REPO: FILES}, None, set()
    return the_hub
