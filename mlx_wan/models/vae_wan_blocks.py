"""The layers both Wan VAEs are made of, streaming: each call gets a few frames and the history.

Everything is `(B, T, H, W, C)`. Attribute names are those of Wan-Video/Wan2.2
(wan/modules/vae2_1.py), except inside the residual block. A causal layer sees the last frames of
its own earlier inputs in front of the new ones, so frames may come in any number at a time and the
result is that of the whole video.
"""

import mlx.core as mx
import mlx.nn as nn

from mlx_wan.attention import attention
from mlx_wan.cpu import conv_3x3, is_cpu, silu


class History:
    """What the causal layers still need of the frames before; one for each pass over a video.

    `first` is true during the first chunk, the single frame that no temporal resampling touches.
    """

    def __init__(self) -> None:
        self.first = True
        self._frames: dict[int, mx.array] = {}

    def past(self, layer: nn.Module, x: mx.array, count: int) -> mx.array:
        """The `count` frames `layer` was given before `x`: zeros before the video began."""
        before = self._frames.get(id(layer))
        if before is None:
            before = mx.zeros((x.shape[0], count, *x.shape[2:]), x.dtype)
        frames = [*mx.split(before, count, axis=1), *mx.split(x, x.shape[1], axis=1)]
        # joined, so that it is a copy: a slice would keep the whole chunk it is a view of alive
        self._frames[id(layer)] = mx.concatenate(frames[-count:], axis=1)
        return before

    def settle(self, x: mx.array) -> mx.array:
        """Evaluate x and what was kept, so that everything before them is released."""
        mx.eval(x, list(self._frames.values()))
        return x


class RMSNorm(nn.Module):
    """x / |x| * sqrt(C) * gamma over channels, |x| at least 1e-12: the RMS norm.

    In the root, 1e-24 has the effect of that bound, which only a vector of zeros ever meets.
    """

    def __init__(self, dim: int):
        super().__init__()
        self.gamma = mx.ones((dim,))

    def __call__(self, x: mx.array) -> mx.array:
        return mx.fast.rms_norm(x, self.gamma, 1e-24)


class CausalConv3d(nn.Module):
    """Zero padding in space, nothing but the past in time; weight (O, kt, kh, kw, I)."""

    def __init__(self, in_dim: int, out_dim: int, kernel: tuple[int, int, int] = (3, 3, 3)):
        super().__init__()
        self.weight = mx.zeros((out_dim, *kernel, in_dim))
        self.bias = mx.zeros((out_dim,))

    def __call__(self, x: mx.array, history: History) -> mx.array:
        past = history.past(self, x, self.weight.shape[1] - 1)
        if is_cpu():
            return conv_3x3(x, self.weight, self.bias, past)
        x = mx.concatenate([past, x], axis=1)
        # one video at a time and no padding in time: Metal's fast path (ml-explore/mlx PR #3785)
        parts = [mx.conv3d(x[i : i + 1], self.weight, padding=(0, 1, 1)) for i in range(len(x))]
        return (parts[0] if len(parts) == 1 else mx.concatenate(parts)) + self.bias


class TimeConv(CausalConv3d):
    """A (3, 1, 1) convolution as one matmul over three frames' channels side by side."""

    def __init__(self, in_dim: int, out_dim: int):
        super().__init__(in_dim, out_dim, (3, 1, 1))

    def valid(self, x: mx.array, stride: int = 1) -> mx.array:
        """Without padding: (B, T, H, W, C) -> (B, (T - 3) // stride + 1, H, W, O)."""
        last = x.shape[1] - 2
        taps = mx.concatenate([x[:, i : last + i : stride] for i in range(3)], axis=-1)
        return mx.addmm(self.bias, taps, self.weight.reshape(self.weight.shape[0], -1).T)


class Pointwise(nn.Module):
    """A convolution of size 1, which is a matmul; `ones` is the weight's number of sizes (1, 1)."""

    def __init__(self, in_dim: int, out_dim: int, ones: int = 3):
        super().__init__()
        self.weight = mx.zeros((out_dim, *[1] * ones, in_dim))
        self.bias = mx.zeros((out_dim,))

    def __call__(self, x: mx.array) -> mx.array:
        return mx.addmm(self.bias, x, self.weight.reshape(self.weight.shape[0], -1).T)


class ResidualBlock(nn.Module):
    def __init__(self, in_dim: int, out_dim: int, conv: type[CausalConv3d] = CausalConv3d):
        super().__init__()
        self.norm1 = RMSNorm(in_dim)
        self.conv1 = conv(in_dim, out_dim)
        self.norm2 = RMSNorm(out_dim)
        self.conv2 = conv(out_dim, out_dim)
        if in_dim != out_dim:
            self.shortcut = Pointwise(in_dim, out_dim)

    def __call__(self, x: mx.array, history: History) -> mx.array:
        h = silu(self.norm1(x))  # a name for each step would keep all of them in memory
        h = self.conv1(h, history)
        h = silu(self.norm2(h))
        h = self.conv2(h, history)
        return history.settle(h + (self.shortcut(x) if "shortcut" in self else x))


class AttentionBlock(nn.Module):
    """Attention of one head within each frame."""

    def __init__(self, dim: int):
        super().__init__()
        self.norm = RMSNorm(dim)
        self.to_qkv = Pointwise(dim, 3 * dim, ones=2)
        self.proj = Pointwise(dim, dim, ones=2)

    def __call__(self, x: mx.array, history: History) -> mx.array:
        b, t, h, w, c = x.shape
        frames = self.to_qkv(self.norm(x)).reshape(b * t, 1, h * w, 3 * c)  # one head
        q, k, v = mx.split(frames, 3, axis=-1)
        out = attention(q, k, v, scale=c**-0.5).reshape(x.shape)
        return history.settle(x + self.proj(out))


class Downsample(nn.Module):
    """Half the size in space and, where `temporal`, in time (all but the first frame)."""

    def __init__(self, dim: int, temporal: bool):
        super().__init__()
        self.conv = nn.Conv2d(dim, dim, 3)
        if temporal:
            self.time_conv = TimeConv(dim, dim)

    def __call__(self, x: mx.array, history: History) -> mx.array:
        b, t, h, w, c = x.shape
        x = mx.pad(x.reshape(b * t, h, w, c), [(0, 0), (0, 1), (0, 1), (0, 0)])
        x = mx.conv2d(x, self.conv.weight, stride=2) + self.conv.bias
        x = x.reshape(b, t, *x.shape[1:])
        if "time_conv" in self:
            past = history.past(self.time_conv, x, 2)
            if not history.first:
                x = self.time_conv.valid(mx.concatenate([past[:, 1:], x], axis=1), stride=2)
        return history.settle(x)


class Upsample(nn.Module):
    """Twice the size in space and, where `temporal`, in time (all but the first frame)."""

    def __init__(self, dim: int, out_dim: int, temporal: bool):
        super().__init__()
        self.conv = nn.Conv2d(dim, out_dim, 3)
        if temporal:
            self.time_conv = TimeConv(dim, 2 * dim)

    def __call__(self, x: mx.array, history: History) -> mx.array:
        if "time_conv" in self and not history.first:  # the first frame is no history either
            past = history.past(self.time_conv, x, 2)
            x = self.time_conv.valid(mx.concatenate([past, x], axis=1))
            dim = x.shape[-1] // 2  # even frames from the first half of the channels, then odd
            x = mx.stack([x[..., :dim], x[..., dim:]], axis=2).flatten(1, 2)
        b, t, h, w, c = x.shape
        x = upsample_conv(x.reshape(b * t, h, w, c), self.conv.weight) + self.conv.bias
        return history.settle(x.reshape(b, t, 2 * h, 2 * w, -1))


class Head(nn.Module):
    def __init__(self, dim: int, out_dim: int, conv: type[CausalConv3d] = CausalConv3d):
        super().__init__()
        self.norm = RMSNorm(dim)
        self.conv = conv(dim, out_dim)

    def __call__(self, x: mx.array, history: History) -> mx.array:
        return history.settle(self.conv(silu(self.norm(x)), history))


def middle(dim: int) -> list[nn.Module]:
    return [ResidualBlock(dim, dim), AttentionBlock(dim), ResidualBlock(dim, dim)]


def upsample_conv(x: mx.array, weight: mx.array) -> mx.array:
    """Nearest x2, then a 3x3 convolution, as four 2x2 convolutions of the small image.

    Each output pixel sees only 2x2 different inputs; the taps that fall on the same one are added
    beforehand. 16/36 of the multiplications and no enlarged copy. (N, H, W, C) -> (N, 2H, 2W, O).
    """
    n, h, w, _ = x.shape
    phases = _phase_weights(weight)
    if is_cpu():  # as one 3x3 convolution to four times the channels: there it is cheaper still
        big = mx.zeros((2, 2, weight.shape[0], 3, 3, weight.shape[3]))
        for p, q in ((0, 0), (0, 1), (1, 0), (1, 1)):
            big[p, q, :, p : p + 2, q : q + 2] = phases[p][q]
        y = conv_3x3(x[None], big.flatten(0, 2)[:, None])[0]  # (N, H, W, 4O)
        y = y.reshape(n, h, w, 2, 2, -1).transpose(0, 1, 3, 2, 4, 5)
        return y.reshape(n, 2 * h, 2 * w, -1)
    rows = []
    for p in (0, 1):
        pair = [mx.conv2d(x, phases[p][q], padding=1)[:, p : p + h, q : q + w] for q in (0, 1)]
        rows.append(mx.concatenate(pair, axis=-1))  # (N, H, W, 2O): pixels side by side
    return mx.stack(rows, axis=2).reshape(n, 2 * h, 2 * w, -1)


def _phase_weights(weight: mx.array) -> list[list[mx.array]]:
    """[row parity][column parity] -> (O, 2, 2, C)."""

    def halves(w: mx.array, axis: int) -> list[mx.array]:
        a, b, c = mx.split(w, 3, axis=axis)
        return [mx.concatenate([a, b + c], axis=axis), mx.concatenate([a + b, c], axis=axis)]

    return [halves(rows, 2) for rows in halves(weight, 1)]


def average_down(x: mx.array, out_dim: int, factor_t: int, factor_s: int) -> mx.array:
    """AvgDown3D of the 2.2 VAE: space to channels, then means of neighbouring channels."""
    if x.shape[1] % factor_t:  # only ever the first chunk, of one frame
        x = mx.pad(x, [(0, 0), (factor_t - 1, 0), (0, 0), (0, 0), (0, 0)])
    b, t, h, w, c = x.shape
    x = x.reshape(b, t // factor_t, factor_t, h // factor_s, factor_s, w // factor_s, factor_s, c)
    x = x.transpose(0, 1, 3, 5, 7, 2, 4, 6)  # (B, T, H, W, C, ft, fs, fs)
    return x.reshape(*x.shape[:4], out_dim, -1).mean(axis=-1)


def duplicate_up(x: mx.array, out_dim: int, factor_t: int, factor_s: int, first: bool) -> mx.array:
    """DupUp3D of the 2.2 VAE: repeated channels scattered to time and space."""
    b, t, h, w, c = x.shape
    x = mx.repeat(x, out_dim * factor_t * factor_s**2 // c, axis=-1)
    x = x.reshape(b, t, h, w, out_dim, factor_t, factor_s, factor_s)
    if first:
        x = x[..., -1:, :, :]
    x = x.transpose(0, 1, 5, 2, 6, 3, 7, 4)
    return x.reshape(b, -1, h * factor_s, w * factor_s, out_dim)
