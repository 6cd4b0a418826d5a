"""The keywords of llama-cpp-python's `Llama(...)`: which versions had them, and where modelplug has them.

The versions looked at are 0.2.11, 0.2.90 and 0.3.36; keywords that were gone before 0.2.11 are marked `old`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from modelplug_migrators.gguf_loader.values import Setting, flag, number, text, texts, whole

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["CERTAIN", "GGML_TYPES", "KEYWORDS", "LIKELY", "SAMPLING", "VERSIONS", "Keyword"]

VERSIONS = ("0.2.11", "0.2.90", "0.3.36")

GGML_TYPES = {0: "f32", 1: "f16", 2: "q4_0", 3: "q4_1", 6: "q5_0", 7: "q5_1", 8: "q8_0", 30: "bf16"}
"""The numbers that `type_k` and `type_v` take, and what they are called; there are more, for weights only."""


@attrs.frozen(kw_only=True)
class Keyword:
    """One keyword of `Llama(...)`, or of its methods that generate.

    Attributes:
        versions: Of the versions looked at, those that had it; `old` if it was gone before.
        place: Where modelplug has it: a name for the engine's section, `model_path`, or `generation.X`; empty
            if modelplug has no such setting.
        setting: What values it took.
        why: Why modelplug has no such setting, for the account.
    """

    versions: str
    place: str = ""
    setting: Setting = attrs.field(factory=lambda: Setting(kind="any"))
    why: str = ""


_ALL = "0.2.11 0.2.90 0.3.36"
_LATER = "0.2.90 0.3.36"

_AUTOMATIC = (None, "leaves it to the program, which null says")
_FROM_MODEL = (None, "takes the model's own, which null says")
_ALL_TOKENS = (0, "keeps all tokens, which 0 says")
_RANDOM = (None, "draws a fresh one each time, which null says")

_ROPE = "the scaling of positions is read from the model file"
_SEVERAL = "layers are spread over devices by the engine itself"
_LORA = "adapters can't be loaded yet"
_OBJECTS = "an object of a Python program can't be set in a file"
_SAMPLER = "there is no setting for this way of sampling"
_GONE = "current engines have no such switch"

_THREADS = whole(1).meaning({0: _AUTOMATIC, -1: _AUTOMATIC})

KEYWORDS: Mapping[str, Keyword] = {
    "model_path": Keyword(versions=_ALL, place="model_path", setting=text()),
    "n_gpu_layers": Keyword(versions=_ALL, place="gpu_layers", setting=whole(-1)),
    "n_ctx": Keyword(versions=_ALL, place="context_size", setting=whole(1).meaning({0: _FROM_MODEL})),
    "n_batch": Keyword(versions=_ALL, place="batch_size", setting=whole(1)),
    "n_ubatch": Keyword(versions="0.3.36", place="ubatch_size", setting=whole(1)),
    "n_threads": Keyword(versions=_ALL, place="threads", setting=_THREADS),
    "n_threads_batch": Keyword(versions=_ALL, why="one number of threads serves prompt and generation"),
    "use_mmap": Keyword(versions=_ALL, place="use_mmap", setting=flag()),
    "use_mlock": Keyword(versions=_ALL, place="use_mlock", setting=flag()),
    "flash_attn": Keyword(versions=_LATER, place="flash_attention", setting=flag(nullable=True)),
    "type_k": Keyword(versions=_LATER, place="kv_type", why="modelplug has one type for keys and values"),
    "type_v": Keyword(versions=_LATER, place="kv_type", why="modelplug has one type for keys and values"),
    "f16_kv": Keyword(versions="0.2.11", place="kv_type", why="the type of keys and values is set by name"),
    "main_gpu": Keyword(versions=_ALL, why=_SEVERAL),
    "split_mode": Keyword(versions=_LATER, why=_SEVERAL),
    "tensor_split": Keyword(versions=_ALL, why=_SEVERAL),
    "rpc_servers": Keyword(versions="0.2.90", why="models run on this machine only"),
    "vocab_only": Keyword(versions=_ALL, why="a model is always loaded with its weights"),
    "kv_overrides": Keyword(versions=_LATER, why="what the model file says is taken as it is"),
    "rope_scaling_type": Keyword(versions=_LATER, why=_ROPE),
    "rope_freq_base": Keyword(versions=_ALL, why=_ROPE),
    "rope_freq_scale": Keyword(versions=_ALL, why=_ROPE),
    "yarn_ext_factor": Keyword(versions=_LATER, why=_ROPE),
    "yarn_attn_factor": Keyword(versions=_LATER, why=_ROPE),
    "yarn_beta_fast": Keyword(versions=_LATER, why=_ROPE),
    "yarn_beta_slow": Keyword(versions=_LATER, why=_ROPE),
    "yarn_orig_ctx": Keyword(versions=_LATER, why=_ROPE),
    "pooling_type": Keyword(versions=_LATER, why="the way of pooling is read from the model file"),
    "attention_type": Keyword(versions="0.3.36", why="the kind of attention is read from the model file"),
    "mul_mat_q": Keyword(versions="0.2.11", why=_GONE),
    "logits_all": Keyword(versions=_ALL, why="log probabilities are asked for with each request"),
    "embedding": Keyword(versions=_ALL, why="embeddings are asked for with each request"),
    "offload_kqv": Keyword(versions=_LATER, why="the engine decides where keys and values are held"),
    "op_offload": Keyword(versions="0.3.36", why="the engine decides which operations go to the GPU"),
    "swa_full": Keyword(versions="0.3.36", why="the engine decides how much of a sliding window it holds"),
    "last_n_tokens_size": Keyword(versions=_ALL, why="the repeat penalty always looks at 64 tokens"),
    "lora_base": Keyword(versions=_ALL, why=_LORA),
    "lora_scale": Keyword(versions=_ALL, why=_LORA),
    "lora_path": Keyword(versions=_ALL, why=_LORA),
    "numa": Keyword(versions=_ALL, why="memory is placed by the operating system"),
    "chat_format": Keyword(versions=_ALL, why="the chat template is read from the model file"),
    "chat_handler": Keyword(versions=_LATER, why=_OBJECTS),
    "draft_model": Keyword(versions=_LATER, why=_OBJECTS),
    "tokenizer": Keyword(versions=_LATER, why=_OBJECTS),
    "spm_infill": Keyword(versions=_LATER, why="there is no setting for filling in the middle"),
    "no_perf": Keyword(versions="0.3.36", why="times are always measured"),
    "verbose": Keyword(versions=_ALL, why="what the engine says is always kept for error messages"),
    "seed": Keyword(
        versions=_ALL,
        place="generation.seed",
        setting=whole(0, 2**32 - 2).meaning({-1: _RANDOM, 2**32 - 1: _RANDOM}),
    ),
    "n_gqa": Keyword(versions="old", why="the model file says it"),
    "n_parts": Keyword(versions="old", why="the parts of a model are found by themselves"),
    "rms_norm_eps": Keyword(versions="old", why="the model file says it"),
    "low_vram": Keyword(versions="old", why=_GONE),
}
"""Every keyword of `Llama(...)`."""

SAMPLING: Mapping[str, Keyword] = {
    "temperature": Keyword(versions=_ALL, place="generation.temperature", setting=number(0, 100)),
    "top_p": Keyword(versions=_ALL, place="generation.top_p", setting=number(0, 1)),
    "top_k": Keyword(versions=_ALL, place="generation.top_k", setting=whole(0).meaning({-1: _ALL_TOKENS})),
    "min_p": Keyword(versions=_ALL, place="generation.min_p", setting=number(0, 1)),
    "repeat_penalty": Keyword(versions=_ALL, place="generation.repeat_penalty", setting=number(0.01, 10)),
    "max_tokens": Keyword(versions=_ALL, place="generation.max_tokens", setting=whole(1)),
    "stop": Keyword(versions=_ALL, place="generation.stop", setting=texts(nullable=True)),
    "suffix": Keyword(versions=_ALL, why=_SAMPLER),
    "echo": Keyword(versions=_ALL, why="the prompt is never part of the answer"),
    "typical_p": Keyword(versions=_ALL, why=_SAMPLER),
    "tfs_z": Keyword(versions=_ALL, why=_SAMPLER),
    "mirostat_mode": Keyword(versions=_ALL, why=_SAMPLER),
    "mirostat_tau": Keyword(versions=_ALL, why=_SAMPLER),
    "mirostat_eta": Keyword(versions=_ALL, why=_SAMPLER),
    "frequency_penalty": Keyword(versions=_ALL, why=_SAMPLER),
    "presence_penalty": Keyword(versions=_ALL, why=_SAMPLER),
}
"""What its methods that generate take, as far as a file may hold it."""

CERTAIN = frozenset(
    {
        "n_gpu_layers", "n_ctx", "n_batch", "n_ubatch", "n_threads", "n_threads_batch", "n_gqa", "n_parts",
        "use_mmap", "use_mlock", "f16_kv", "last_n_tokens_size", "vocab_only", "logits_all", "offload_kqv",
    }
)  # fmt: skip
"""Names that no other program's configuration has by chance."""

LIKELY = frozenset(
    {
        "flash_attn", "tensor_split", "main_gpu", "split_mode", "rope_freq_base", "rope_freq_scale",
        "lora_path", "lora_base", "lora_scale", "yarn_ext_factor", "yarn_attn_factor", "yarn_beta_fast",
        "yarn_beta_slow", "yarn_orig_ctx", "type_k", "type_v", "kv_overrides", "rpc_servers", "chat_format",
        "numa", "mul_mat_q", "rms_norm_eps", "low_vram",
    }
)  # fmt: skip
"""Names that other programs might have too: two of them are needed."""
