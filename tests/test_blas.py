"""The fast BLAS on Linux: loaded just before MLX, and honest about what is in use."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux needs another BLAS")


def status_after(*statements: str) -> str:
    script = "; ".join((*statements, "from mlx_wan import blas; print(blas.status())"))
    told = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return told.stdout.strip()


def test_openblas_is_loaded_with_mlx_and_not_before():
    assert status_after("import mlx_wan") == "loaded together with mlx.core"
    assert status_after("import mlx_wan", "import mlx.core").startswith("OpenBLAS")


def test_mlx_before_us_keeps_its_own_blas_and_we_say_so():
    assert "mlx.core was imported before mlx_wan" in status_after("import mlx.core, mlx_wan")


def test_without_the_package_it_goes_on_and_says_so():
    lost = "import mlx_wan.blas as b; b._packaged = lambda *_: None"
    told = status_after(lost, "import mlx.core as mx; mx.eval(mx.ones(2) @ mx.ones((2, 2)))")
    assert told.startswith(("reference BLAS (slow)", "OpenBLAS"))
