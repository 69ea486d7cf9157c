"""The Wan 2.1 VAE in torch, whole sequence at once, for training on a CPU.

Equal to the chunked forward with its feature cache, but differentiable in one pass.
Attribute names are those of the original checkpoint, so the state dict is the original layout.
Frames and latents are channels first here: (B, C, T, H, W).
"""

import math
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# The official constants; the trained VAE has its own statistics folded in, see `fold_statistics`.
LATENTS_MEAN = (
    -0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508,
    0.4134, -0.0715, 0.5517, -0.3632, -0.1922, -0.9497, 0.2503, -0.2921,
)  # fmt: skip
LATENTS_STD = (
    2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743,
    3.2687, 2.1526, 2.8652, 1.5579, 1.6382, 1.1253, 2.8251, 1.9160,
)  # fmt: skip


class CausalConv3d(nn.Conv3d):
    """Zero padding: both sides in space, only in front in time."""

    def forward(self, x: Tensor) -> Tensor:
        kt, kh, kw = self.kernel_size
        x = F.pad(x, (kw // 2, kw // 2, kh // 2, kh // 2, kt - 1, 0))
        return F.conv3d(x, self.weight, self.bias)


class RMSNorm(nn.Module):
    def __init__(self, dim: int, ndim: int):
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(dim, *[1] * ndim))
        self.scale = math.sqrt(dim)

    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(x, dim=1) * (self.gamma * self.scale)


class ResidualBlock(nn.Module):
    def __init__(self, dim_in: int, dim_out: int):
        super().__init__()
        self.residual = nn.Sequential(
            RMSNorm(dim_in, 3),
            nn.SiLU(),
            CausalConv3d(dim_in, dim_out, 3),
            RMSNorm(dim_out, 3),
            nn.SiLU(),
            nn.Identity(),  # dropout in the original
            CausalConv3d(dim_out, dim_out, 3),
        )
        self.shortcut = CausalConv3d(dim_in, dim_out, 1) if dim_in != dim_out else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.residual(x) + self.shortcut(x)


class AttentionBlock(nn.Module):
    """Single-head attention over the pixels of each frame."""

    def __init__(self, dim: int):
        super().__init__()
        self.norm = RMSNorm(dim, 2)
        self.to_qkv = nn.Conv2d(dim, 3 * dim, 1)
        self.proj = nn.Conv2d(dim, dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        frames, batch = _each_frame(x)
        b, c, h, w = frames.shape
        qkv = self.to_qkv(self.norm(frames)).reshape(b, 1, 3 * c, h * w).transpose(2, 3)
        out = F.scaled_dot_product_attention(*qkv.chunk(3, dim=-1))  # (b, 1, h*w, c)
        out = self.proj(out.transpose(2, 3).reshape(b, c, h, w))
        return x + _as_video(out, batch)


class Downsample(nn.Module):
    def __init__(self, dim: int, temporal: bool):
        super().__init__()
        self.resample = nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(dim, dim, 3, stride=2))
        self.time_conv = nn.Conv3d(dim, dim, (3, 1, 1), stride=(2, 1, 1)) if temporal else None

    def forward(self, x: Tensor) -> Tensor:
        frames, batch = _each_frame(x)
        x = _as_video(self.resample(frames), batch)
        if self.time_conv is None or x.shape[2] == 1:
            return x
        return torch.cat([x[:, :, :1], self.time_conv(x)], dim=2)


class Upsample(nn.Module):
    def __init__(self, dim: int, temporal: bool):
        super().__init__()
        self.resample = nn.Sequential(
            nn.Upsample(scale_factor=2.0, mode="nearest"), nn.Conv2d(dim, dim // 2, 3, padding=1)
        )
        self.time_conv = CausalConv3d(dim, 2 * dim, (3, 1, 1)) if temporal else None

    def forward(self, x: Tensor) -> Tensor:
        if self.time_conv is not None and x.shape[2] > 1:
            later = self.time_conv(x[:, :, 1:])
            b, c, t, h, w = later.shape
            later = later.view(b, 2, c // 2, t, h, w).permute(0, 2, 3, 1, 4, 5)
            x = torch.cat([x[:, :, :1], later.reshape(b, c // 2, 2 * t, h, w)], dim=2)
        frames, batch = _each_frame(x)
        return _as_video(self.resample(frames), batch)


def _each_frame(x: Tensor) -> tuple[Tensor, int]:
    b, c, t, h, w = x.shape
    frames = x.permute(0, 2, 1, 3, 4).reshape(b * t, c, h, w)
    return frames.contiguous(memory_format=torch.channels_last), b


def _as_video(frames: Tensor, batch: int) -> Tensor:
    n, c, h, w = frames.shape
    return frames.reshape(batch, n // batch, c, h, w).permute(0, 2, 1, 3, 4)


def _middle(dim: int) -> nn.Sequential:
    return nn.Sequential(ResidualBlock(dim, dim), AttentionBlock(dim), ResidualBlock(dim, dim))


def _head(dim: int, out: int) -> nn.Sequential:
    return nn.Sequential(RMSNorm(dim, 3), nn.SiLU(), CausalConv3d(dim, out, 3))


class Encoder(nn.Module):
    def __init__(self, base: int, z_dim: int):
        super().__init__()
        widths = [base, base, 2 * base, 4 * base, 4 * base]
        self.conv1 = CausalConv3d(3, base, 3)
        layers: list[nn.Module] = []
        for level in range(4):
            layers += [ResidualBlock(widths[level], widths[level + 1])]
            layers += [ResidualBlock(widths[level + 1], widths[level + 1])]
            if level < 3:
                layers += [Downsample(widths[level + 1], temporal=level > 0)]
        self.downsamples = nn.Sequential(*layers)
        self.middle = _middle(widths[-1])
        self.head = _head(widths[-1], 2 * z_dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.middle(self.downsamples(self.conv1(x))))


class Decoder(nn.Module):
    def __init__(self, base: int, z_dim: int):
        super().__init__()
        widths = [4 * base, 4 * base, 4 * base, 2 * base, base]
        self.conv1 = CausalConv3d(z_dim, widths[0], 3)
        self.middle = _middle(widths[0])
        layers: list[nn.Module] = []
        for level in range(4):
            width = widths[level + 1]
            first = widths[level] if level == 0 else widths[level] // 2  # the upsampling halves
            layers += [ResidualBlock(first, width), *[ResidualBlock(width, width) for _ in "12"]]
            if level < 3:
                layers += [Upsample(width, temporal=level < 2)]
        self.upsamples = nn.Sequential(*layers)
        self.head = _head(widths[-1], 3)

    def forward(self, z: Tensor) -> Tensor:
        return self.head(self.upsamples(self.middle(self.conv1(z))))


class MiniVAE(nn.Module):
    def __init__(self, base: int = 8, z_dim: int = 16):
        super().__init__()
        self.encoder = Encoder(base, z_dim)
        self.conv1 = CausalConv3d(2 * z_dim, 2 * z_dim, 1)
        self.conv2 = CausalConv3d(z_dim, z_dim, 1)
        self.decoder = Decoder(base, z_dim)

    def encode(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance, not normalised."""
        mean, log_variance = self.conv1(self.encoder(frames)).chunk(2, dim=1)
        return mean, log_variance.clamp(-30, 20)

    def decode(self, z: Tensor) -> Tensor:
        return self.decoder(self.conv2(z))

    def normalise(self, z: Tensor) -> Tensor:
        mean, std = _constants()
        return (z - mean) / std

    def denormalise(self, latents: Tensor) -> Tensor:
        mean, std = _constants()
        return latents * std + mean


def _constants() -> tuple[Tensor, Tensor]:
    shape = (1, -1, 1, 1, 1)
    return torch.tensor(LATENTS_MEAN).view(shape), torch.tensor(LATENTS_STD).view(shape)


def load_vae(folder: Path) -> MiniVAE:
    """The VAE of a checkpoint folder in the original layout, in float32."""
    weights = torch.load(folder / "Wan2.1_VAE.pth", weights_only=True)
    kernel = weights["encoder.conv1.weight"]
    vae = MiniVAE(base=kernel.shape[0], z_dim=weights["conv2.weight"].shape[0])
    vae.load_state_dict({name: value.float() for name, value in weights.items()})
    return vae.eval()


def channels_last(vae: MiniVAE) -> MiniVAE:
    """The same network with kernels in the order this CPU convolves fastest (twice as fast)."""
    for weight in vae.parameters():
        if weight.ndim == 5:
            weight.data = weight.data.contiguous(memory_format=torch.channels_last_3d)
        elif weight.ndim == 4 and weight.shape[-1] > 1:
            weight.data = weight.data.contiguous(memory_format=torch.channels_last)
    return vae


@torch.no_grad()
def initialise(vae: MiniVAE, generator: torch.Generator) -> None:
    """What makes minutes of training enough."""
    for module in vae.modules():
        if isinstance(module, (nn.Conv2d, nn.Conv3d)):
            fan_in = module.weight[0, :, 0].numel() if module.weight.ndim == 5 else None
            fan_in = fan_in or module.weight[0].numel()
            module.weight.normal_(0, fan_in**-0.5, generator=generator)
            if module.weight.ndim == 5 and module.kernel_size[0] == 3:
                module.weight[:, :, :2] *= 0.1  # the newest frame leads
            assert module.bias is not None
            module.bias.zero_()
        if isinstance(module, ResidualBlock):
            second = module.residual[6]
            assert isinstance(second, CausalConv3d)
            second.weight *= 0.3
        if isinstance(module, (Downsample, Upsample)) and module.time_conv is not None:
            kernel = module.time_conv.weight  # starts by keeping, or repeating, the newest frame
            kernel.zero_()
            kernel[:, :, 2, 0, 0] = torch.eye(kernel.shape[1]).repeat(
                kernel.shape[0] // kernel.shape[1], 1
            )
    log_variance_bias = vae.conv1.bias
    assert log_variance_bias is not None
    log_variance_bias[log_variance_bias.numel() // 2 :] = -4.0


@torch.no_grad()
def rescale_latents(
    vae: MiniVAE, mean: Tensor, std: Tensor, to_mean: Tensor, to_std: Tensor
) -> None:
    """Turn latents with statistics `mean`, `std` into ones with `to_mean`, `to_std`, exactly.

    Only the 1x1x1 convs change: the encoder gives a * z + b, the decoder takes it back. Folding
    our statistics into the official constants leaves no code with a special case for this VAE.
    """
    a = to_std / std
    b = to_mean - mean * a
    n = a.numel()
    out_bias, in_bias = vae.conv1.bias, vae.conv2.bias
    assert out_bias is not None and in_bias is not None
    vae.conv1.weight[:n] *= a.view(-1, 1, 1, 1, 1)
    out_bias[:n] = out_bias[:n] * a + b
    out_bias[n:] += 2 * a.log()
    vae.conv2.weight /= a.view(1, -1, 1, 1, 1)
    in_bias -= vae.conv2.weight.view(n, n) @ b


def fold(vae: MiniVAE, mean: Tensor, std: Tensor) -> None:
    """Make the official constants hold for latents that have statistics `mean`, `std`."""
    rescale_latents(vae, mean, std, torch.tensor(LATENTS_MEAN), torch.tensor(LATENTS_STD))


def unfold(vae: MiniVAE) -> None:
    """Back to the scale the KL term expects: mean 0, spread 1."""
    mean, std = torch.tensor(LATENTS_MEAN), torch.tensor(LATENTS_STD)
    rescale_latents(vae, mean, std, torch.zeros_like(mean), torch.ones_like(std))
