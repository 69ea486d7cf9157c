"""A fast BLAS for MLX's CPU backend on Linux; does nothing elsewhere.

MLX's Linux wheel links reference BLAS. Loading OpenBLAS with global symbols before the first
`import mlx.core` makes the dynamic linker take its `cblas_sgemm` instead, 27 times as fast.
OpenBLAS comes from pip (`ngsolve-openblas`) and wants `libgfortran.so.5`; where the system has
none, the copy inside MLX's own wheel serves: the library looks beside itself (RPATH $ORIGIN), so
it is opened through a folder of links that puts the two together.

One thread each, unless OPENBLAS_NUM_THREADS says otherwise: NumPy brings an OpenBLAS of its own,
and two pools of threads that wait by spinning take the cores from each other. The second core is
used by evaluating the guidance pair at once (`cpu.run_pair`).
"""

import os
import sys
from pathlib import Path

_status = "not needed on this platform"


class _BeforeMlx:
    """An import finder that finds nothing, but preloads when `mlx.core` is asked for.

    So whoever imports MLX after mlx_wan gets the fast BLAS, and `--help` pays nothing for it.
    """

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> None:
        if name == "mlx.core":
            sys.meta_path.remove(_BeforeMlx)  # type: ignore[arg-type]
            _preload()


def arrange() -> None:
    """Have OpenBLAS loaded just before `mlx.core` is imported."""
    global _status
    if sys.platform != "linux" or _BeforeMlx in sys.meta_path:
        return
    if "mlx.core" in sys.modules:
        if not _status.startswith("OpenBLAS"):
            _status = "reference BLAS (slow): mlx.core was imported before mlx_wan"
        return
    _status = "loaded together with mlx.core"
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    sys.meta_path.insert(0, _BeforeMlx)  # type: ignore[arg-type]


def _preload() -> None:
    """Load OpenBLAS with global symbols; on failure go on without and remember why."""
    import ctypes

    global _status
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
    from importlib.util import find_spec

    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return None
    found = sorted(Path(spec.submodule_search_locations[0]).glob(pattern))
    return found[0] if found else None


def _open(library: Path):  # type: ignore[no-untyped-def]
    """The library as a ctypes handle, MLX's own libgfortran beside it where it needs one."""
    import ctypes
    import tempfile

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
