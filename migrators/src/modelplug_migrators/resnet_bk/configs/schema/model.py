"""The section `model`: what `MambaKillerConfig(**section)` takes."""

from __future__ import annotations

from typing import Literal

import attrs

from modelplug_migrators.resnet_bk.configs.schema.limits import not_empty, token_ids, within

__all__ = ["FeedForward", "ModelSection"]

FeedForward = Literal["none", "swiglu", "experts"]


@attrs.frozen(kw_only=True)
class ModelSection:
    """The settings of a model; what is null follows from the others.

    Attributes:
        vocab_size: Tokens in the vocabulary.
        d_model: Width of the residual stream.
        n_layers: Layers.
        n_seq: Tokens of a training sequence.
        mixer: How tokens are mixed; `diagonal-bidirectional` is what models before 1.0 are.
        expand: Width of the `green` mixer in units of `d_model`.
        value_dim: Width of a head's values.
        key_dim: Width of a head's queries and keys.
        free_heads: Heads whose memory nothing localises.
        complex_heads: Heads that keep the phase.
        conv_kernel: Taps of the convolution before queries, keys and values.
        copy_key_dim: Width of the keys of the memory that brings tokens back; 0 for none.
        diagonal_heads: Chains of the diagonal mixers.
        potential_limit: Where the potential of the diagonal mixers is cut off.
        grad_blend: Share of the gradient of earlier versions; 0 is the exact gradient.
        feed_forward: The kind of feed-forward, for all layers or for each.
        intermediate_size: Width of a feed-forward.
        num_experts: Feed-forwards in a layer with experts; 0 if there is none.
        top_k: Experts that a token goes through.
        use_scattering_router: Whether the phase chooses them, and not a linear gate.
        parallel_feed_forward: Whether mixer and feed-forward take the same input.
        norm: The kind of norm.
        norm_eps: Added to the variance in norms.
        position_embeddings: Whether each position has a vector.
        head_bias: Whether the output has a bias.
        tie_word_embeddings: Whether input and output use one matrix.
        dropout: Share of activations dropped in training.
        initializer_range: Standard deviation of fresh weights.
        use_cache: Whether generation keeps the state.
        pad_token_id: Token that fills up shorter texts.
        bos_token_id: Token that begins a text.
        eos_token_id: Token, or tokens, that end a text.
        use_prime_bump: Whether bumps at logarithms of primes are added to the potential.
        prime_bump_scale: Their height.
        k_max: Highest power of a prime among them.
        epsilon: Their width.
        use_semiseparable: Always true: the dense mode went with 1.0.
        low_rank: Kept from earlier versions; changes nothing.
        use_clark_measure: Kept from earlier versions; changes nothing.
        clark_measure_weight: Kept from earlier versions; changes nothing.
        use_mourre: For diagnostics.
        use_lap: For diagnostics.
        schatten_threshold: For diagnostics.
        precision_upgrade_threshold: For diagnostics.
        use_cpu_offload: Kept from earlier versions; changes nothing.
        use_act: Kept from earlier versions; changes nothing.
        act_halt_threshold: Kept from earlier versions; changes nothing.
        learning_rate: For training, where the section `training` says nothing.
        batch_size: For training, where the section `training` says nothing.
        gradient_checkpointing: Whether training recomputes layers, to need less memory.
        mixed_precision: For training, where the section `training` says nothing.
        epsilon_schedule: The values `epsilon` takes one after the other.
    """

    vocab_size: int = attrs.field(default=30000, validator=within(1))
    d_model: int = attrs.field(default=256, validator=within(1))
    n_layers: int = attrs.field(default=8, validator=within(1))
    n_seq: int = attrs.field(default=2048, validator=within(1))

    mixer: Literal["green", "diagonal", "diagonal-bidirectional"] = "green"
    expand: int = attrs.field(default=2, validator=within(1))
    value_dim: int = attrs.field(default=32, validator=within(1))
    key_dim: int = attrs.field(default=16, validator=within(1))
    free_heads: int | None = attrs.field(default=None, validator=within(0))
    complex_heads: int = attrs.field(default=0, validator=within(0))
    conv_kernel: int = attrs.field(default=4, validator=within(1))
    copy_key_dim: int | None = attrs.field(default=None, validator=within(0))
    diagonal_heads: int | None = attrs.field(default=None, validator=within(1))
    potential_limit: float | None = attrs.field(default=None, validator=within(above=0))
    grad_blend: float = attrs.field(default=0.0, validator=within(0, 1))

    feed_forward: FeedForward | list[FeedForward] | None = attrs.field(default=None, validator=not_empty)
    intermediate_size: int | None = attrs.field(default=None, validator=within(1))
    num_experts: int = attrs.field(default=0, validator=within(0))
    top_k: int = attrs.field(default=2, validator=within(1))
    use_scattering_router: bool = True
    parallel_feed_forward: bool | None = None

    norm: Literal["rms", "layer"] | None = None
    norm_eps: float = attrs.field(default=1e-5, validator=within(above=0))
    position_embeddings: bool | None = None
    head_bias: bool | None = None
    tie_word_embeddings: bool = False
    dropout: float = attrs.field(default=0.0, validator=within(0, 1))
    initializer_range: float = attrs.field(default=0.02, validator=within(above=0))
    use_cache: bool = True
    pad_token_id: int | list[int] | None = attrs.field(default=None, validator=token_ids)
    bos_token_id: int | list[int] | None = attrs.field(default=None, validator=token_ids)
    eos_token_id: int | list[int] | None = attrs.field(default=None, validator=token_ids)

    use_prime_bump: bool = False
    prime_bump_scale: float = 0.02
    k_max: int = attrs.field(default=3, validator=within(1))
    epsilon: float = attrs.field(default=1.0, validator=within(above=0))

    use_semiseparable: Literal[True] = True
    low_rank: int | None = attrs.field(default=None, validator=within(1))
    use_clark_measure: bool = False
    clark_measure_weight: float = attrs.field(default=0.1, validator=within(0))
    use_mourre: bool = True
    use_lap: bool = True
    schatten_threshold: float = attrs.field(default=100.0, validator=within(above=0))
    precision_upgrade_threshold: float = attrs.field(default=1e6, validator=within(above=0))
    use_cpu_offload: bool = False
    use_act: bool = False
    act_halt_threshold: float = attrs.field(default=0.2, validator=within(0, 1))

    learning_rate: float = attrs.field(default=4e-3, validator=within(above=0))
    batch_size: int = attrs.field(default=8, validator=within(1))
    gradient_checkpointing: bool = False
    mixed_precision: bool = True
    epsilon_schedule: list[float] = attrs.field(factory=lambda: [1.0, 0.75, 0.5, 0.25, 0.1])
