"""What `config.json` says of a model of the Llama family, checked for what llama.cpp computes alike."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs

from modelplug.errors import ConversionRefusedError
from modelplug.formats.huggingface import read_json

if TYPE_CHECKING:
    from typing import NoReturn

__all__ = ["FAMILIES", "HF_TOOL", "Configuration", "Family", "Rope", "read_configuration"]

HF_TOOL: Final = "convert_hf_to_gguf.py"
"""llama.cpp's own converter of Hugging Face directories, which knows many more architectures."""


@attrs.frozen
class Family:
    """How one class of transformers' models appears in GGUF.

    Attributes:
        architecture: The value of `general.architecture`.
        interleaved: Whether llama.cpp rotates neighbouring elements of a head together, where transformers
            rotates the two halves: the rows of the query and key weights then change places.
        attention_bias: Whether query, key and value always have a bias.
        head_norms: Whether queries and keys are normalised head by head.
    """

    architecture: str
    interleaved: bool = False
    attention_bias: bool = False
    head_norms: bool = False


FAMILIES: Final = {
    "LlamaForCausalLM": Family("llama", interleaved=True),
    "MistralForCausalLM": Family("llama", interleaved=True),
    "Qwen2ForCausalLM": Family("qwen2", attention_bias=True),
    "Qwen3ForCausalLM": Family("qwen3", head_norms=True),
}
_LARGEST: Final = 1 << 24
_CLASSES: Final = {
    "llama": "LlamaForCausalLM",
    "mistral": "MistralForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
}


@attrs.frozen(kw_only=True)
class Rope:
    """How positions are turned into angles.

    Attributes:
        theta: The base of the frequencies.
        kind: `default`, `linear` or `llama3`.
        factor: With `linear`, what positions are divided by.
        divisors: With `llama3`, what each frequency is divided by, half as many as a head has elements.
    """

    theta: float
    kind: str = "default"
    factor: float = 1.0
    divisors: tuple[float, ...] = ()


@attrs.frozen(kw_only=True)
class Configuration:
    """The figures of a model.

    Attributes:
        family: Its family.
        layers: Repeating layers.
        width: Width of the residual stream.
        inner: Width within the feed-forward part.
        heads: Attention heads.
        kv_heads: Key/value heads.
        head_width: Elements of a head.
        vocabulary: Rows of the token embedding.
        context_length: Tokens for which llama.cpp computes the same as transformers.
        epsilon: Of the norms.
        rope: Of the positions.
        tied: Whether the token embedding is the output head as well.
        values: The whole file.
        notes: What the result lacks, in full sentences.
    """

    family: Family
    layers: int
    width: int
    inner: int
    heads: int
    kv_heads: int
    head_width: int
    vocabulary: int
    context_length: int
    epsilon: float
    rope: Rope
    tied: bool
    values: dict[str, Any]
    notes: tuple[str, ...] = ()


def read_configuration(directory: Path) -> Configuration | None:
    """Read `config.json`; None if the model is of no family known here.

    Raises:
        ConversionRefusedError: It is, and has something that llama.cpp would compute differently.
        ModelFileError: The file is damaged.
    """
    path = directory / "config.json"
    values = read_json(path)
    names = values.get("architectures")
    # Without a class named, the kind of model decides, as it does in transformers.
    name = names[0] if isinstance(names, list) and names else _CLASSES.get(str(values.get("model_type")))
    family = FAMILIES.get(name) if isinstance(name, str) else None
    if family is None:
        return None
    reader = _Reader(path, values)
    reader.check_limits()
    heads, width = reader.whole("num_attention_heads"), reader.whole("hidden_size")
    head_width = reader.whole("head_dim", width // heads)
    kv_heads = reader.whole("num_key_value_heads", heads)
    if heads % kv_heads or head_width % 2:
        reader.refuse(
            f"{heads} heads of {head_width} elements can't share {kv_heads} key/value heads",
            why="the numbers in config.json contradict each other",
        )
    context, notes = reader.context_length()
    return Configuration(
        family=family,
        layers=reader.whole("num_hidden_layers"),
        width=width,
        inner=reader.whole("intermediate_size"),
        heads=heads,
        kv_heads=kv_heads,
        head_width=head_width,
        vocabulary=reader.whole("vocab_size"),
        context_length=context,
        epsilon=reader.number("rms_norm_eps", 1e-6),
        rope=reader.rope(head_width),
        tied=reader.flag("tie_word_embeddings"),
        values=values,
        notes=notes,
    )


class _Reader:
    """The entries of the file, each checked for its type."""

    def __init__(self, path: Path, values: dict[str, Any]) -> None:
        self.path = path
        self.values = values

    def refuse(self, what: str, **more: str) -> NoReturn:
        raise self.refusal(what, **more)

    def refusal(
        self, what: str, *, why: str = "", advice: str = "", tool: str = ""
    ) -> ConversionRefusedError:
        return ConversionRefusedError(
            f"{self.path.parent.name} can't be converted: {what}",
            path=self.path,
            tool=tool,
            why=why,
            advice=advice or f"Correct {self.path}, or download it again.",
        )

    def wrong(self, name: str, value: object, expected: str) -> NoReturn:
        found = "missing" if value is None else f"{value!r:.60} instead of {expected}"
        self.refuse(f"{name!r} in config.json is {found}")

    def whole(self, name: str, default: int | None = None) -> int:
        value = self.values.get(name)
        if value is None:
            value = default
        if type(value) is not int or not 0 < value < _LARGEST:
            self.wrong(name, value, f"a whole number from 1 to {_LARGEST - 1}")
        return value

    def number(self, name: str, default: object, values: dict[str, Any] | None = None) -> float:
        value = (self.values if values is None else values).get(name)
        if value is None:
            value = default
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
            self.wrong(name, value, "a number above 0")
        return float(value)

    def flag(self, name: str) -> bool:
        value = self.values.get(name)
        if value is not None and not isinstance(value, bool):
            self.wrong(name, value, "true or false")
        return bool(value)

    def check_limits(self) -> None:
        """Refuse what changes the computation in a way that the file format or llama.cpp does not have."""
        values = self.values
        if values.get("quantization_config"):
            method = values["quantization_config"]
            named = method.get("quant_method") if isinstance(method, dict) else None
            self.refuse(
                f"its weights are quantised already ({named or 'quantization_config in config.json'})",
                why="they would have to be unpacked first, and lose once more when packed again",
                advice="Convert the original model, or download a GGUF file of it.",
            )
        if values.get("hidden_act", "silu") not in ("silu", "swish"):
            self.refuse(
                f"its activation is {values['hidden_act']!r:.40}",
                why="llama.cpp computes SiLU in models of this architecture",
                tool=HF_TOOL,
                advice=f"See whether llama.cpp's {HF_TOOL} knows this model.",
            )

    def context_length(self) -> tuple[int, tuple[str, ...]]:
        """The tokens a context may hold, and what is to be said of it."""
        length = self.whole("max_position_embeddings", 2048)
        window = self.values.get("sliding_window")
        if window is None or self.values.get("use_sliding_window") is False:
            return length, ()
        window = self.whole("sliding_window")
        if window >= length:
            return length, ()
        note = (
            f"The context is limited to {window:,} tokens instead of {length:,}: in this architecture "
            "llama.cpp does not compute the sliding window, which makes a difference from there on."
        )
        return window, (note,)

    def rope(self, head_width: int) -> Rope:
        """The rotary embedding, as older and newer versions of transformers write it."""
        scaling = self.values.get("rope_parameters") or self.values.get("rope_scaling") or {}
        if not isinstance(scaling, dict):
            self.refuse("'rope_scaling' in config.json is no object")
        fallback = self.values.get("rope_theta")
        theta = self.number("rope_theta", 10000.0 if fallback is None else fallback, scaling)
        kind = scaling.get("rope_type", scaling.get("type", "default")) or "default"
        rotated = scaling.get("partial_rotary_factor", self.values.get("partial_rotary_factor"))
        if rotated not in (None, 1, 1.0):
            kind = f"partial ({rotated})"
        if kind == "default":
            return Rope(theta=theta)
        if kind == "linear":
            return Rope(theta=theta, kind=kind, factor=self.number("factor", None, scaling))
        if kind == "llama3":
            return Rope(theta=theta, kind=kind, divisors=self._llama3_divisors(theta, head_width, scaling))
        raise self.refusal(
            f"its rotary embedding is of the kind {kind!r:.40}",
            why="the kinds that can be converted here are default, linear and llama3",
            tool=HF_TOOL,
            advice=f"Use llama.cpp's {HF_TOOL}.",
        )

    def _llama3_divisors(self, theta: float, head_width: int, scaling: dict[str, Any]) -> tuple[float, ...]:
        factor = self.number("factor", None, scaling)
        low = self.number("low_freq_factor", None, scaling)
        high = self.number("high_freq_factor", None, scaling)
        before = self.values.get("original_max_position_embeddings")
        length = self.number("original_max_position_embeddings", before, scaling)
        if high <= low:
            self.refuse("'high_freq_factor' in config.json is not above 'low_freq_factor'")
        divisors = []
        for element in range(0, head_width, 2):
            turns = length / (2 * math.pi * theta ** (element / head_width))
            # Fast elements stay as they are, slow ones are slowed down, and those between go over smoothly.
            kept = min(1.0, max(0.0, (turns - low) / (high - low)))
            divisors.append(1 / (kept + (1 - kept) / factor))
        return tuple(divisors)
