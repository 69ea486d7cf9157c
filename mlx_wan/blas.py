"""A fast BLAS for MLX's CPU backend on Linux; does nothing elsewhere.

MLX's Linux wheel links reference BLAS. Loading OpenBLAS with global symbols before the first
`import mlx.core` makes the dynamic linker take its `cblas_sgemm` instead (product.md: 27x).
OpenBLAS comes from pip (`ngsolve-openblas`) and wants `libgfortran.so.5`; where the system has
none, the copy inside MLX's own wheel serves: the library looks beside itself (RPATH $ORIGIN), so
it is opened through a folder of links that puts the two together.
"""

import ctypes
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

_status = "not needed on this platform"


def preload() -> None:
    """Load OpenBLAS with global symbols, once; on failure go on without and remember why."""
    global _status
    if sys.platform != "linux" or _status.startswith("OpenBLAS"):
        return
    if "mlx.core" in sys.modules:
        _status = "reference BLAS (slow): mlx.core was imported before mlx_wan"
        return
    library = _packaged("ngsolve_openblas", "libopenblas*.so*")
    try:
        handle = _open(library) if library else ctypes.CDLL("libopenblas.so.0", ctypes.RTLD_GLOBAL)
        handle.openblas_get_config.restype = ctypes.c_char_p
        _status = handle.openblas_get_config().decode()
    except (OSError, AttributeError) as error:
        _status = f"reference BLAS (slow): {error}"


def status() -> str:
    """What `mlx-wan doctor` prints: the BLAS in use, or why the slow one is."""
    return _status


def _packaged(package: str, pattern: str) -> Path | None:
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return None
    found = sorted(Path(spec.submodule_search_locations[0]).glob(pattern))
    return found[0] if found else None


def _open(library: Path) -> ctypes.CDLL:
    try:
        return ctypes.CDLL(str(library), ctypes.RTLD_GLOBAL)
    except OSError:
        with tempfile.TemporaryDirectory(prefix="mlx-wan-blas-") as folder:
            links = Path(folder)
            (links / library.name).symlink_to(library)
            for runtime in library.parent.parent.glob("mlx_cpu.libs/lib*"):
                is_fortran = runtime.name.startswith("libgfortran")
                (links / ("libgfortran.so.5" if is_fortran else runtime.name)).symlink_to(runtime)
            return ctypes.CDLL(str(links / library.name), ctypes.RTLD_GLOBAL)
