"""Triton compiles every variant of the kernels for an H100; that needs no GPU."""

from __future__ import annotations

import importlib
import os
from typing import Any

import pytest

pytest.importorskip("triton")
pytestmark = pytest.mark.skipif(
    os.environ.get("TRITON_INTERPRET") == "1", reason="interpreted kernels are not compiled"
)

PLACE = "resnet_bk.resolvent.kernels"
SHAPE = {"T": 32, "KEYS": 16, "VALUES": 32, "K": 16, "P": 32}
CARRY = {"SIZE": 512, "ROWS": 16, "BLOCK": 32}
# What the programs of an H100's multiprocessor share, with room for two of them.
SHARED_MEMORY = 100 * 1024

# Module, kernel, its constants, the constants that have both values, and the number of warps.
KERNELS: list[tuple[str, str, dict[str, int], tuple[str, ...], int]] = [
    ("triton_scans", "_fractions", {"BLOCK": 32, "UNROLLED": 16, "AHEAD": 3}, (), 1),
    ("triton_scans", "_tile_maps", {"TILE": 256}, (), 4),
    ("triton_scans", "_tile_values", {"TILE": 256}, (), 4),
    ("triton_scans", "_tile_values", {"TILE": 32}, (), 4),
    ("triton_chunks", "contribute", SHAPE, ("BACKWARDS", "COMPLEX"), 4),
    ("triton_chunks", "carry", CARRY, ("BACKWARDS", "COMPLEX"), 1),
    ("triton_chunks", "outputs", SHAPE, ("COMPLEX",), 4),
    ("triton_gradients", "gradients", SHAPE, ("COMPLEX",), 8),
]


def variants() -> list[Any]:
    """Every kernel in both precisions, with each choice of its switches."""
    found = []
    for module, name, constants, switches, warps in KERNELS:
        for number in range(2 ** len(switches)):
            chosen = {switch: bool(number >> place & 1) for place, switch in enumerate(switches)}
            for precision in ("fp32", "fp64"):
                values = {**constants, **chosen}
                label = "-".join([name, precision, *(switch for switch in chosen if chosen[switch])])
                marks = [pytest.mark.slow] if name == "gradients" else []
                found.append(pytest.param(module, name, values, precision, warps, id=label, marks=marks))
    return found


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("module", "name", "constants", "precision", "warps"), variants())
def test_a_variant_compiles(
    module: str,
    name: str,
    constants: dict[str, Any],
    precision: str,
    warps: int,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Any,
) -> None:
    """Down to machine code, and its programs leave each other room in shared memory."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    function = getattr(importlib.import_module(f"{PLACE}.{module}"), name)
    numbers = {parameter.name for parameter in function.params if parameter.do_not_specialize}
    signature = {
        argument: "constexpr" if argument in constants else "i32" if argument in numbers else f"*{precision}"
        for argument in function.arg_names
    }
    aligned = {
        (place,): [["tt.divisibility", 16]]
        for place, kind in enumerate(signature.values())
        if kind.startswith("*")
    }
    source = ASTSource(function, signature, constexprs=constants, attrs=aligned)
    options = {"num_warps": warps, "enable_fp_fusion": True}
    compiled = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options)
    assert compiled.asm["cubin"]
    assert compiled.metadata.shared <= SHARED_MEMORY
