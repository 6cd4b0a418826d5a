"""Models as ONNX files, which run where neither PyTorch nor this package is."""

from __future__ import annotations

from resnet_bk.onnx_export.errors import OnnxExportError, OnnxMismatchError, OnnxPackagesMissingError
from resnet_bk.onnx_export.exporting import export_to_onnx

__all__ = ["OnnxExportError", "OnnxMismatchError", "OnnxPackagesMissingError", "export_to_onnx"]
