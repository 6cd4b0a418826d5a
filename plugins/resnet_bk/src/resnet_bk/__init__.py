"""ResNet-BK: language models whose token mixing is the resolvent of a tridiagonal Hamiltonian.

The names below are the public API; everything else may change without notice. They are imported when first
used, so that `import resnet_bk` loads no PyTorch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from resnet_bk._version import __version__
from resnet_bk.registration import register_with_transformers

if TYPE_CHECKING:
    from resnet_bk.birman_schwinger import BirmanSchwingerCore as BirmanSchwingerCore
    from resnet_bk.checkpoints import CheckpointManager as CheckpointManager
    from resnet_bk.configuration import MambaKillerConfig as MambaKillerConfig
    from resnet_bk.configuration import ResNetBKConfig as ResNetBKConfig
    from resnet_bk.errors import InvalidInputError as InvalidInputError
    from resnet_bk.errors import KernelUnavailableError as KernelUnavailableError
    from resnet_bk.evaluation import StreamingEvaluator as StreamingEvaluator
    from resnet_bk.flops import FLOPsCounter as FLOPsCounter
    from resnet_bk.legacy import LanguageModel as LanguageModel
    from resnet_bk.memory import MemoryOptimizer as MemoryOptimizer
    from resnet_bk.modeling import ResNetBK as ResNetBK
    from resnet_bk.modeling import ResNetBKForCausalLM as ResNetBKForCausalLM
    from resnet_bk.modeling import ResNetBKModel as ResNetBKModel
    from resnet_bk.onnx_export import export_to_onnx as export_to_onnx
    from resnet_bk.presets import preset as preset
    from resnet_bk.prime_bump import PrimeBumpPotential as PrimeBumpPotential
    from resnet_bk.quantization import MixedPrecisionQuantization as MixedPrecisionQuantization
    from resnet_bk.quantization import QuantizedBirmanSchwinger as QuantizedBirmanSchwinger
    from resnet_bk.scattering import ScatteringRouter as ScatteringRouter
    from resnet_bk.semiseparable import SemiseparableMatrix as SemiseparableMatrix
    from resnet_bk.training import TrainingConfig as TrainingConfig
    from resnet_bk.training import train as train

_HOMES = {
    "resnet_bk.birman_schwinger": ("BirmanSchwingerCore",),
    "resnet_bk.checkpoints": ("CheckpointManager",),
    "resnet_bk.configuration": ("MambaKillerConfig", "ResNetBKConfig"),
    "resnet_bk.errors": ("InvalidInputError", "KernelUnavailableError"),
    "resnet_bk.evaluation": ("StreamingEvaluator",),
    "resnet_bk.flops": ("FLOPsCounter",),
    "resnet_bk.legacy": ("LanguageModel",),
    "resnet_bk.memory": ("MemoryOptimizer",),
    "resnet_bk.modeling": ("ResNetBK", "ResNetBKForCausalLM", "ResNetBKModel"),
    "resnet_bk.onnx_export": ("export_to_onnx",),
    "resnet_bk.presets": ("preset",),
    "resnet_bk.prime_bump": ("PrimeBumpPotential",),
    "resnet_bk.quantization": ("MixedPrecisionQuantization", "QuantizedBirmanSchwinger"),
    "resnet_bk.scattering": ("ScatteringRouter",),
    "resnet_bk.semiseparable": ("SemiseparableMatrix",),
    "resnet_bk.training": ("TrainingConfig", "train"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = ["__version__", *sorted(_HOME_OF)]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    value = getattr(importlib.import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


# Whoever imports this package can load its models with transformers' Auto classes.
register_with_transformers()
