"""Records tests/recorded/torch_save.pth and torch_save.npz: what torch.save really writes.

python tests/record_pth.py     (needs the `reference` extra)
"""

from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch

FOLDER = Path(__file__).parent / "recorded"


def main() -> None:
    torch.manual_seed(0)
    layer = torch.nn.Conv3d(2, 3, (3, 1, 1))  # a state_dict: OrderedDict with _metadata
    state = OrderedDict(layer.state_dict())
    state._metadata = layer.state_dict()._metadata
    base = torch.arange(24, dtype=torch.float32)
    state["half"] = torch.randn(2, 5).half()
    state["bfloat16"] = torch.randn(4, 3).bfloat16()
    state["parameter"] = torch.nn.Parameter(torch.randn(7))
    state["view"] = base[4:10].reshape(2, 3)
    state["shared"] = base  # the same storage as `view`
    state["transposed"] = torch.randn(4, 6).t()
    state["channels_last"] = torch.randn(2, 3, 2, 4, 5).to(memory_format=torch.channels_last_3d)
    state["scalar"] = torch.tensor(3.5)
    state["empty"] = torch.zeros(0, 3)
    torch.save(state, FOLDER / "torch_save.pth")
    values = {name: tensor.detach().float().numpy() for name, tensor in state.items()}
    np.savez(FOLDER / "torch_save.npz", **values)
    legacy = {"weight": torch.zeros(2)}
    torch.save(legacy, FOLDER / "torch_legacy.pth", _use_new_zipfile_serialization=False)


if __name__ == "__main__":
    main()
