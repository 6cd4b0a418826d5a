"""The configuration of a ResNet-BK model: every setting, checked when it is made and when it is used."""

from __future__ import annotations

import dataclasses
import warnings
from typing import Any, ClassVar

from transformers import PreTrainedConfig

from resnet_bk.configuration.checks import check_values, refuse_unknown
from resnet_bk.configuration.errors import ConfigurationError
from resnet_bk.configuration.rules import CHECKS, FEED_FORWARDS, check_relations
from resnet_bk.configuration.state_size import state_bytes

__all__ = ["MambaKillerConfig"]

# What transformers itself passes besides fields: names it understands, or removes.
_OF_TRANSFORMERS = frozenset(
    {
        "_commit_hash", "_name_or_path", "attn_implementation", "auto_map", "experts_implementation",
        "model_type", "name_or_path", "num_labels", "output_attentions", "quantization_config", "torch_dtype",
    }
)  # fmt: skip
_STATE_BYTES = "state_bytes"
_DEPRECATED = ("use_hybrid_gradient", "manual_seed")


class MambaKillerConfig(PreTrainedConfig):  # type: ignore[misc]
    """The configuration of a ResNet-BK model.

    What is left at None follows from the other settings, and stands in the object and in `config.json` with
    its value. `ResNetBKConfig` is another name of this class.

    Attributes:
        vocab_size: Tokens in the vocabulary.
        d_model: Width of the residual stream.
        n_layers: Layers.
        n_seq: Tokens of a training sequence. The causal mixers have no limit and need no more memory beyond
            it; `diagonal-bidirectional` takes exactly so many tokens, or fewer.
        mixer: How tokens are mixed: `green`, the causal Green operator with a matrix state; `diagonal`,
            features of the causal diagonal g_i; or `diagonal-bidirectional`, what models before 1.0 are,
            which sees the future.
        expand: Width of the `green` mixer in units of `d_model`.
        value_dim: Width of a head's values; there are expand * d_model / value_dim heads.
        key_dim: Width of a head's queries and keys.
        free_heads: Heads, the first ones, without input-dependent potential and hopping, whose memory nothing
            localises. None takes all, or half, rounded down, with prime bumps, which are potentials.
        complex_heads: Heads, the last ones, that keep the phase of the resolvent.
        conv_kernel: Taps of the causal convolution before queries, keys and values.
        copy_key_dim: Width of the keys of the memory that brings tokens back which followed states like the
            present one; 0 for a model without it. None takes 32 for `green`, else 0.
        diagonal_heads: Chains of the diagonal mixers; None takes 32, and 1 for `diagonal-bidirectional`.
        potential_limit: The potential of the diagonal mixers is cut off at plus and minus this; None leaves
            it free, and takes 3 for `diagonal-bidirectional`.
        grad_blend: Share of the gradient of earlier versions, -1 / G_ii^2, in that of the diagonal mixers; 0
            is the exact gradient, the only one of `green`.
        feed_forward: `none`, `swiglu` or `experts`, for all layers or as a list, one for each. None takes
            `experts` where there are any, else `none`.
        intermediate_size: Width of a feed-forward; None takes 8/3 of `d_model` for `swiglu`, rounded up to a
            multiple of 32, and twice `d_model` for `experts`.
        num_experts: Feed-forwards in a layer of the kind `experts`; 0 if no layer is.
        top_k: Experts that a token goes through.
        use_scattering_router: Whether the phase of the causal diagonal chooses them, and not a linear gate.
        parallel_feed_forward: Whether mixer and feed-forward take the same input; None: as before 1.0 for
            `diagonal-bidirectional` only.
        norm: `rms` or `layer`; None takes `layer` for `diagonal-bidirectional`.
        norm_eps: Added to the variance in norms.
        position_embeddings: Whether each of `n_seq` positions has a vector; None: for
            `diagonal-bidirectional`.
        head_bias: Whether the output has a bias; None: for `diagonal-bidirectional`.
        tie_word_embeddings: Whether input and output use one matrix.
        dropout: Share of activations dropped in training.
        use_prime_bump: Whether the bumps at logarithms of primes are added to the potential.
        prime_bump_scale: Their height.
        k_max: Highest power of a prime among them.
        epsilon: What the widths eta of the causal mixers are multiplied with: above 1 memories are shorter,
            below 1 the resolvent is sharper. Also the square of the bumps' width.
        initializer_range: Standard deviation of fresh weights.
        use_cache: Whether generation keeps the state, and does not compute the whole text for every token.
        pad_token_id: Token that fills up shorter texts of a batch.
        bos_token_id: Token that begins a text.
        eos_token_id: Token that ends a text.
        use_semiseparable: Always True: the dense mode went with 1.0.
        low_rank: Kept from earlier versions; changes nothing.
        use_clark_measure: Kept from earlier versions; changes nothing.
        clark_measure_weight: Kept from earlier versions; changes nothing.
        use_mourre: For the diagnostics of `BirmanSchwingerCore`.
        use_lap: For the diagnostics of `BirmanSchwingerCore`.
        schatten_threshold: For the diagnostics of `BirmanSchwingerCore`.
        precision_upgrade_threshold: For the diagnostics of `BirmanSchwingerCore`.
        use_cpu_offload: Kept from earlier versions; changes nothing.
        use_act: Kept from earlier versions; changes nothing.
        act_halt_threshold: Kept from earlier versions; changes nothing.
        learning_rate: For training.
        batch_size: For training.
        gradient_checkpointing: Whether training recomputes layers in the backward pass, to need less memory.
        mixed_precision: For training: whether matrices are multiplied in 16 bits.
        epsilon_schedule: For training: the values `epsilon` takes one after the other.

    Raises:
        UnknownSettingError: There is no setting of that name.
        ConfigurationError: A value is out of range, or does not go with another.
    """

    model_type = "resnet_bk"
    keys_to_ignore_at_inference: ClassVar[list[str]] = ["past_key_values"]
    attribute_map: ClassVar[dict[str, str]] = {"hidden_size": "d_model", "num_hidden_layers": "n_layers"}

    vocab_size: int = 30000
    d_model: int = 256
    n_layers: int = 8
    n_seq: int = 2048

    mixer: str = "green"
    expand: int = 2
    value_dim: int = 32
    key_dim: int = 16
    free_heads: int | None = None
    complex_heads: int = 0
    conv_kernel: int = 4
    copy_key_dim: int | None = None
    diagonal_heads: int | None = None
    potential_limit: float | None = None
    grad_blend: float = 0.0

    feed_forward: str | list[str] | None = None
    intermediate_size: int | None = None
    num_experts: int = 0
    top_k: int = 2
    use_scattering_router: bool = True
    parallel_feed_forward: bool | None = None

    norm: str | None = None
    norm_eps: float = 1e-5
    position_embeddings: bool | None = None
    head_bias: bool | None = None
    tie_word_embeddings: bool = False
    dropout: float = 0.0
    initializer_range: float = 0.02
    use_cache: bool = True
    pad_token_id: int | None = None
    bos_token_id: int | None = None
    eos_token_id: int | list[int] | None = None

    use_prime_bump: bool = False
    prime_bump_scale: float = 0.02
    k_max: int = 3
    epsilon: float = 1.0

    use_semiseparable: bool = True
    low_rank: int | None = None
    use_clark_measure: bool = False
    clark_measure_weight: float = 0.1
    use_mourre: bool = True
    use_lap: bool = True
    schatten_threshold: float = 100.0
    precision_upgrade_threshold: float = 1e6
    use_cpu_offload: bool = False
    use_act: bool = False
    act_halt_threshold: float = 0.2

    learning_rate: float = 4e-3
    batch_size: int = 8
    gradient_checkpointing: bool = False
    mixed_precision: bool = True
    epsilon_schedule: list[float] = dataclasses.field(default_factory=lambda: [1.0, 0.75, 0.5, 0.25, 0.1])

    def __post_init__(self, **kwargs: Any) -> None:
        """Take in what is no field, fill in what follows from other settings, and check everything."""
        self._take_deprecated(kwargs)
        kwargs.pop(_STATE_BYTES, None)  # it follows from the settings
        known = (
            {field.name for field in dataclasses.fields(type(self))}
            | _OF_TRANSFORMERS
            | set(self.attribute_map)
        )
        refuse_unknown((key for key in kwargs if key not in known), known - _OF_TRANSFORMERS)
        for name in self.attribute_map:
            if name in kwargs:
                setattr(self, name, kwargs.pop(name))
        check_values(vars(self), CHECKS)
        self._fill_in()
        check_relations(self)
        super().__post_init__(**kwargs)

    def _take_deprecated(self, kwargs: dict[str, Any]) -> None:
        for name in _DEPRECATED:
            if name not in kwargs:
                continue
            value = kwargs.pop(name)
            if name == "manual_seed":
                advice = "call torch.manual_seed() directly before you build the model"
            else:
                advice = "use `grad_blend` instead: 0.5 for True, 0 for False"
            warnings.warn(f"`{name}` is deprecated: {advice}.", DeprecationWarning, stacklevel=4)
            if name == "manual_seed" and value is not None:
                import torch

                torch.manual_seed(value)
            elif name == "use_hybrid_gradient" and self.grad_blend == 0:
                self.grad_blend = 0.5 if value else 0.0

    def _fill_in(self) -> None:
        """Give every setting that follows from others its value."""
        old = self.mixer == "diagonal-bidirectional"
        if self.free_heads is None:
            self.free_heads = self.num_heads // (2 if self.use_prime_bump else 1)
        if self.copy_key_dim is None:
            self.copy_key_dim = 32 if self.mixer == "green" else 0
        if self.diagonal_heads is None:
            self.diagonal_heads = 1 if old else 32
        if self.potential_limit is None and old:
            self.potential_limit = 3.0
        if self.feed_forward is None:
            self.feed_forward = "experts" if self.num_experts else "none"
        if self.intermediate_size is None:
            swiglu = -(-8 * self.d_model // 96) * 32
            self.intermediate_size = swiglu if "swiglu" in self.feed_forwards else 2 * self.d_model
        if self.parallel_feed_forward is None:
            self.parallel_feed_forward = old and "none" not in self.feed_forwards
        for name in ("position_embeddings", "head_bias"):
            if getattr(self, name) is None:
                setattr(self, name, old)
        if self.norm is None:
            self.norm = "layer" if old else "rms"

    @property
    def inner_size(self) -> int:
        """Width of the `green` mixer."""
        return int(self.expand * self.d_model)

    @property
    def num_heads(self) -> int:
        """Heads of the `green` mixer."""
        return self.inner_size // self.value_dim

    @property
    def feed_forwards(self) -> tuple[str, ...]:
        """The kind of feed-forward in each layer."""
        if isinstance(self.feed_forward, (list, tuple)):
            return tuple(self.feed_forward)
        return (self.feed_forward or FEED_FORWARDS[0],) * self.n_layers

    @property
    def state_bytes(self) -> int:
        """Bytes of the state for one text, in float32; it stands in `config.json` for those who only look."""
        return state_bytes(self)

    @property
    def is_causal(self) -> bool:
        """Whether no token sees the ones after it."""
        return self.mixer != "diagonal-bidirectional"

    def verify(self) -> None:
        """Check everything again, as a model does that is built from it: settings can be changed at any time.

        Raises:
            ConfigurationError: A value is out of range, or does not go with another.
        """
        check_values(vars(self), CHECKS)
        check_relations(self)

    def to_dict(self) -> dict[str, Any]:
        """Every setting, and how large the state is that follows from them."""
        return {**super().to_dict(), _STATE_BYTES: self.state_bytes}

    def to_diff_dict(self) -> dict[str, Any]:
        """What is written to `config.json`: every setting of ours, whether or not it has its usual value.

        A model then stays what it is when a later version has other defaults.
        """
        own = {name: getattr(self, name) for name in CHECKS}
        return {**own, _STATE_BYTES: self.state_bytes, **super().to_diff_dict()}

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """Build a configuration from the content of a `config.json`.

        Args:
            config_dict: The content.
            kwargs: Settings that take the place of those in it.

        Raises:
            ConfigurationError: It is that of another kind of model.
        """
        kind = config_dict.get("model_type", cls.model_type)
        if kind != cls.model_type:
            raise ConfigurationError(
                f"this is the configuration of a {kind} model, not of a ResNet-BK model",
                key="model_type",
                value=kind,
                advice="Load it with AutoModelForCausalLM, or give the directory of a ResNet-BK model.",
            )
        return super().from_dict(config_dict, **kwargs)
