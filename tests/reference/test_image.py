"""Our bicubic against torch's, live, at the sizes people use."""

import numpy as np
import pytest
import torch

from mlx_wan.image import resize_exact

pytestmark = pytest.mark.reference


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((1920, 1080), (1280, 720)),
        ((4032, 3024), (1104, 816)),
        ((517, 333), (832, 464)),
        ((1279, 719), (1280, 720)),
        ((64, 64), (64, 64)),
        ((3, 2), (832, 480)),
    ],
)
def test_bicubic_is_torchs(before, after):
    # noise: the hardest picture, where a position that is a little off shows at once
    image = np.random.default_rng(0).integers(0, 256, (*before[::-1], 3), dtype=np.uint8)
    planes = torch.tensor(image).permute(2, 0, 1)[None] / 255
    planes = planes.sub_(0.5).div_(0.5)
    expected = torch.nn.functional.interpolate(planes, size=after[::-1], mode="bicubic")
    ours = resize_exact(image, after)
    assert np.abs(ours - expected[0].permute(1, 2, 0).numpy()).max() < 1e-5
