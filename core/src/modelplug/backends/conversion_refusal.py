"""What can't be converted here, why, and which program can."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from modelplug.errors import ConversionRefusedError, NothingSuitableError

if TYPE_CHECKING:
    from modelplug.errors import ModelplugError
    from modelplug.formats.model_info import ModelInfo

__all__ = ["refusal"]

_LEGACY: Final = ("ggml", "ggmf", "ggjt")
_LEGACY_TOOL: Final = "convert_llama_ggml_to_gguf.py"
_HF_TOOL: Final = "convert_hf_to_gguf.py"
_LORA_TOOL: Final = "convert_lora_to_gguf.py"
_FLOATS: Final = frozenset({"F32", "F16"})
# Their layout changed with GGJT version 3.
_CHANGED_IN_3: Final = frozenset({"Q4_0", "Q4_1", "Q8_0"})


def refusal(info: ModelInfo, converters: int) -> ModelplugError:
    """The error for a model that no plugin converts.

    Args:
        info: What inspection found, with the backends that can run the model as it is.
        converters: How many plugins that convert are installed.
    """
    if info.format in ("gguf", "llamafile"):
        return _is_gguf(info)
    if info.format in _LEGACY:
        return _legacy(info)
    if info.kind == "adapter":
        return _adapter(info)
    if info.format in ("safetensors", "pytorch", "pytorch-legacy"):
        return _bare_weights(info)
    if not converters:
        return NothingSuitableError(
            "no plugin that converts models is installed",
            why=f"{info.path.name} is a model of the format {info.format}",
            advice="Install the llama.cpp plugin: pip install 'modelplug-llamacpp[convert]'",
        )
    return _refused(
        info,
        f"no installed plugin converts the architecture {_architecture(info)} from the format {info.format}",
        tool=_HF_TOOL if info.format == "huggingface" else "",
        advice=f"See whether llama.cpp's {_HF_TOOL} knows it, or download a GGUF file of the model."
        if info.format == "huggingface"
        else "Download a GGUF file of the model.",
    )


def _refused(info: ModelInfo, why: str, *, advice: str, tool: str = "") -> ConversionRefusedError:
    return ConversionRefusedError(
        f"{info.path.name} can't be converted here", path=info.path, tool=tool, why=why, advice=advice
    )


def _architecture(info: ModelInfo) -> str:
    """The class that implements the model, or else its kind."""
    classes = info.metadata.get("architectures")
    return str(classes[0]) if isinstance(classes, list) and classes else str(info.architecture)


def _is_gguf(info: ModelInfo) -> ConversionRefusedError:
    if info.byte_order == "big":
        return _refused(
            info,
            "it is GGUF already, and only its bytes are in the order of another kind of machine",
            tool="gguf-convert-endian",
            advice="The gguf package's program turns them, in a copy: "
            f"pip install gguf; cp {info.path.name} copy.gguf; gguf-convert-endian copy.gguf little",
        )
    return _refused(
        info,
        "it is GGUF already; to pack its tensors in another type is called quantising",
        tool="llama-quantize",
        advice="Use llama.cpp's program, best on an F16 or F32 file: "
        f"llama-quantize {info.path.name} result.gguf Q4_K_M",
    )


def _adapter(info: ModelInfo) -> ConversionRefusedError:
    advice = f"Use llama.cpp's {_LORA_TOOL}: python {_LORA_TOOL} {info.path}"
    if info.format == "ggla":
        advice = (
            f"Take the adapter as its author published it, for PEFT, and use llama.cpp's {_LORA_TOOL} on it."
        )
    return _refused(
        info, "it is an adapter (LoRA), and only models are converted here", tool=_LORA_TOOL, advice=advice
    )


def _legacy(info: ModelInfo) -> ConversionRefusedError:
    name = f"{info.format.upper()}{f' version {info.format_version}' if info.format_version else ''}"
    runs = ", ".join(info.compatible_backends)
    as_it_is = f" It can be run as it is: {runs} loads this format." if runs else ""
    if info.architecture == "llama" and _script_reads(info):
        return _refused(
            info,
            f"it is in the format {name}, used until August 2023, which lacks much of what GGUF holds",
            tool=_LEGACY_TOOL,
            advice=f"llama.cpp's script reads it as well as can be: python {_LEGACY_TOOL} --input "
            f"{info.path.name} --output {info.path.stem}.gguf --eps 1e-5 (for Llama 2; 1e-6 for Llama 1). A "
            f"GGUF file made from the original model is better.{as_it_is}",
        )
    reason = (
        f"its numbers are packed as {info.quantization} was before a later version changed it"
        if info.architecture == "llama" and info.quantization
        else f"llama.cpp's {_LEGACY_TOOL} reads Llama models only"
    )
    return _refused(
        info,
        f"it is a file in the obsolete format {name}, and {reason}",
        tool=_HF_TOOL,
        advice="Download a GGUF file of the model, or convert the original with llama.cpp's "
        f"{_HF_TOOL}.{as_it_is}",
    )


def _script_reads(info: ModelInfo) -> bool:
    """Whether llama.cpp's script takes such a file: what was repacked since, it does not."""
    packed = set(info.tensor_types) - _FLOATS
    version = int(info.format_version or 0)
    if info.format == "ggjt" and version >= 3:
        return True
    if info.format == "ggjt" and version == 2:
        return not packed & _CHANGED_IN_3
    return not packed


def _bare_weights(info: ModelInfo) -> ConversionRefusedError:
    directory = info.files[0].parent
    if (directory / "config.json").exists():
        return _refused(
            info,
            "it is the weight file of a model directory",
            advice=f"Give the directory: modelplug convert {directory}",
        )
    return _refused(
        info,
        "it holds weights, and neither says how they are computed with nor what its tokens are",
        tool=_HF_TOOL,
        advice="Put config.json and the tokenizer's files beside them, from where you have the weights, "
        f"then give the directory: modelplug convert {directory}",
    )
