"""How every tensor of a model is going to be stored; refused here, before the long work starts."""

import re

from mlx_wan.errors import UsageError

from .jobs import Quantization, TensorJob
from .parts import Part
from .quantize import check_group_size, is_quantized

DTYPES = {"bf16": "BF16", "fp16": "F16", "fp32": "F32"}
DTYPE_NAMES = {"BF16": "bfloat16", "F16": "float16", "F32": "float32"}


def plan_jobs(part: Part, dtype: str, quantization: Quantization | None) -> list[TensorJob]:
    """One job per tensor, in the order in which they lie in the files of the part."""
    order = {file: number for number, file in enumerate(part.found.checkpoint.files)}
    jobs = []
    for name, place in part.found.tensors.items():
        quantized = quantization if is_quantized(part.network, name) else None
        shape = part.reorders[name].shape
        if quantized:
            check_group_size(f"{part.path}: {name}", shape[1], quantized)
        jobs.append(
            TensorJob(
                name,
                place.file,
                place.info,
                part.reorders[name],
                stored_dtype(part, name, dtype),
                part.found.scales.get(name, 1.0),
                quantized,
            )
        )
    return sorted(jobs, key=lambda job: (order[job.file], job.info.start, job.name))


def component_dtype(part: Part, dtype: str) -> str:
    """The dtype of a network's matrices.

    A VAE is small and its reference runs in float32, so it is stored as it was published.
    """
    if part.found.form.as_published:
        published = {place.info.dtype for place in part.found.tensors.values()}
        return next(iter(published)) if published < {"BF16", "F16"} else "F32"
    return dtype


def stored_dtype(part: Part, name: str, dtype: str) -> str:
    """What a transformer uses in float32, its norms first, stays exact."""
    exact = part.found.form.exact
    if exact and re.fullmatch(exact, name):
        return "F32"
    return component_dtype(part, dtype)


def check_options(dtype: str, quantize: int | None, group_size: int) -> Quantization | None:
    """Raise UsageError for values that no conversion accepts."""
    if dtype not in DTYPES:
        raise UsageError(f"dtype is {dtype!r}", f"use one of {', '.join(DTYPES)}")
    if quantize is None:
        return None
    if quantize not in (8, 6, 4):
        raise UsageError(f"quantize is {quantize!r}", "use 8, 6 or 4 bits")
    if group_size not in (32, 64, 128):
        raise UsageError(f"group_size is {group_size!r}", "use 32, 64 or 128")
    return Quantization(quantize, group_size)
