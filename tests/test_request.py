"""What a person may ask for, and the one line they get when it makes no sense."""

import pytest

from mlx_wan.errors import UsageError
from mlx_wan.request import MAX_PROMPT_CHARACTERS, Request, parse_guidance_scale


def test_a_prompt_is_enough():
    assert Request("a fox").num_frames is None


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"prompt": ""}, "prompt"),
        ({"prompt": "  \n "}, "prompt"),
        ({"prompt": 7}, "prompt"),
        ({"prompt": "x" * (MAX_PROMPT_CHARACTERS + 1)}, "prompt"),
        ({"prompt": "a\0b"}, "NUL"),
        ({"prompt": "\ud800"}, "Unicode"),
        ({"negative_prompt": 3}, "negative_prompt"),
        ({"width": 0}, "width"),
        ({"width": 1e3}, "width"),
        ({"height": 10**6}, "height"),
        ({"num_frames": 0}, "num_frames"),
        ({"num_frames": True}, "num_frames"),
        ({"fps": 0}, "fps"),
        ({"fps": 241}, "fps"),
        ({"steps": 0}, "steps"),
        ({"steps": -3}, "steps"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**63}, "seed"),
        ({"duration": 0}, "duration"),
        ({"duration": float("nan")}, "duration"),
        ({"duration": "5s"}, "duration"),
        ({"shift": 0}, "shift"),
        ({"shift": float("inf")}, "shift"),
        ({"shift": 10**400}, "shift"),
        ({"guidance_scale": float("nan")}, "guidance_scale"),
        ({"guidance_scale": {"high_noise": -1}}, "guidance_scale"),
        ({"duration": 5, "num_frames": 81}, "duration"),
        ({"last_image": "a.png"}, "last_image"),
        ({"output": ""}, "output"),
        ({"widht": 832}, "widht"),
    ],
)
def test_nonsense_is_refused_by_name(settings, named):
    with pytest.raises(UsageError) as error:
        Request.from_dict({"prompt": "a fox"} | settings)
    assert named in error.value.message
    assert error.value.hint
    assert "\n" not in error.value.message


def test_a_config_without_prompt_is_refused():
    with pytest.raises(UsageError, match="no prompt"):
        Request.from_dict({"width": 64})


def test_guidance_scale_is_a_number_or_one_per_expert():
    assert parse_guidance_scale("3.5") == 3.5
    assert parse_guidance_scale("high_noise=4, low_noise=3") == {"high_noise": 4, "low_noise": 3}
    for text in ("four", "high_noise=", "a=1=2", ""):
        with pytest.raises(UsageError):
            parse_guidance_scale(text)
