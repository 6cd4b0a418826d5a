"""The recurrences in ONNX's own operators: loops over the sites, as exact as the formulas.

onnxscript reads the source of these functions and makes ONNX of it. The first inputs are what a loop carries
from site to site, the others are cut along their third dimension, the sites; likewise the outputs.
"""

from __future__ import annotations

from typing import Any

import onnx_ir
from onnx_ir.passes.common import InlinePass, RemoveUnusedOpsetsPass
from onnxscript import graph, script
from onnxscript import opset18 as op
from onnxscript.values import Opset

from resnet_bk.onnx_export.recurrences import DOMAIN

__all__ = ["insert_loops"]

_OURS = Opset(DOMAIN, 1)


@script(_OURS)
def fraction(real_before, imaginary_before, detuning, coupling, eta):  # type: ignore[no-untyped-def]
    """See `denominators`. Nothing cancels in the imaginary part: it is a sum of positive terms."""

    @graph()
    def site(real, imaginary, level, s, width):  # type: ignore[no-untyped-def]
        x = level - s * real
        q = width + s * imaginary
        inverse = op.Reciprocal(x * x + q * q)
        new_real = x * inverse
        new_imaginary = q * inverse
        return new_real, new_imaginary, x, q, op.Identity(real), op.Identity(imaginary)

    last_real, last_imaginary, x, q, real, imaginary = op.Scan(
        real_before, imaginary_before, detuning, coupling, eta,
        body=site, num_scan_inputs=3, scan_input_axes=[2, 2, 2], scan_output_axes=[2, 2, 2, 2],
    )  # fmt: skip
    return last_real, last_imaginary, x, q, real, imaginary


@script(_OURS)
def plain_memory(before, queries, keys, values, alpha):  # type: ignore[no-untyped-def]
    """See the function of that name in `resnet_bk.onnx_export.recurrences`."""

    @graph()
    def site(memory, query, key, value, gate):  # type: ignore[no-untyped-def]
        new_memory = gate * memory + key * value
        read = op.MatMul(query, new_memory)
        return new_memory, read

    last, outputs = op.Scan(
        before, queries, keys, values, alpha,
        body=site, num_scan_inputs=4, scan_input_axes=[2, 2, 2, 2], scan_output_axes=[2],
    )  # fmt: skip
    return last, outputs


@script(_OURS)
def phased_memory(real_before, imaginary_before, queries, keys, values, kept, turned):  # type: ignore[no-untyped-def]
    """See the function of that name in `resnet_bk.onnx_export.recurrences`."""

    @graph()
    def site(real, imaginary, query, key, value, along, across):  # type: ignore[no-untyped-def]
        new_real = along * real - across * imaginary + key * value
        new_imaginary = along * imaginary + across * real
        read = op.MatMul(query, new_real)
        return new_real, new_imaginary, read

    last_real, last_imaginary, outputs = op.Scan(
        real_before, imaginary_before, queries, keys, values, kept, turned,
        body=site, num_scan_inputs=5, scan_input_axes=[2, 2, 2, 2, 2], scan_output_axes=[2],
    )  # fmt: skip
    return last_real, last_imaginary, outputs


def insert_loops(model: onnx_ir.Model, opset_version: int) -> None:
    """Put loops in the place of the nodes that stand for recurrences; the model is changed.

    Args:
        model: The model.
        opset_version: The version of ONNX's operators in it.
    """
    for function in (fraction, plain_memory, phased_memory):
        made: Any = onnx_ir.from_proto(function.to_function_proto())
        # The operators here are the same in all versions since.
        made.opset_imports[""] = opset_version
        model.functions[made.identifier()] = made
    InlinePass()(model)
    RemoveUnusedOpsetsPass()(model)
