"""The model without its output: embeddings, layers and a last norm."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutputWithPast

from resnet_bk.configuration import MambaKillerConfig
from resnet_bk.configuration.warnings import warn_about
from resnet_bk.errors import InvalidInputError
from resnet_bk.modeling.block import Block
from resnet_bk.modeling.cache import LayerState, RecurrentCache
from resnet_bk.modeling.copy_memory import Copying
from resnet_bk.modeling.inputs import check_cache, check_embeddings, check_input_ids, check_length, check_mask
from resnet_bk.modeling.layout import Layout, arrange, restore, take
from resnet_bk.modeling.norm import make_norm
from resnet_bk.modeling.pretrained import ResNetBKPreTrainedModel
from resnet_bk.prime_bump import PrimeBumpPotential

__all__ = ["ResNetBKModel"]


class ResNetBKModel(ResNetBKPreTrainedModel):
    """Gives the last hidden state of every token.

    Args:
        config: The configuration.
        warn: Whether to warn if the model sees the future, and of settings that it will not follow.
    """

    # The directory of a whole model has the output's weights besides, and what needs them.
    _keys_to_ignore_on_load_unexpected = (r"^lm_head\.", r"^copy_memory\.")

    def __init__(self, config: MambaKillerConfig, *, warn: bool = True) -> None:
        super().__init__(config)
        if warn:
            warn_about(config, stacklevel=2)
        self.embeddings = nn.Embedding(config.vocab_size, config.d_model)
        if config.position_embeddings:
            self.position_embeddings = nn.Embedding(config.n_seq, config.d_model)
        if config.use_prime_bump:
            # Its values are computed here and now, also where a model is made without memory for its weights.
            with torch.device("cpu"):
                self.prime_bump = PrimeBumpPotential(
                    config.n_seq, scale=config.prime_bump_scale, epsilon=config.epsilon, k_max=config.k_max
                )
        self.layers = nn.ModuleList(Block(config, number) for number in range(config.n_layers))
        self.norm = make_norm(config)
        self.gradient_checkpointing = False
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        """The matrix of token vectors."""
        return self.embeddings

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Put another one in its place."""
        self.embeddings = value

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        past_key_values: RecurrentCache | None = None,
        inputs_embeds: Tensor | None = None,
        use_cache: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        copying: Copying | None = None,
        **_ignored: Any,
    ) -> Any:
        """Compute the last hidden states.

        Args:
            input_ids: Tokens, (B, N).
            attention_mask: 1 at tokens, 0 at padding, (B, N) or (B, all tokens so far).
            past_key_values: The state after the tokens before these; it is changed.
            inputs_embeds: Vectors in place of tokens, (B, N, d_model).
            use_cache: Whether to return the state; None does so outside training.
            output_hidden_states: Whether to return the residual stream between the layers, too.
            return_dict: Whether the result is an object with names; False gives a tuple.
            copying: The memory of a whole model, which adds to the last hidden states.

        Raises:
            InvalidInputError: An input can't be computed with; it is named.
        """
        hidden = self._embed(input_ids, inputs_embeds)
        keep = self._keeps_state(use_cache, past_key_values)
        cache = (past_key_values if past_key_values is not None else RecurrentCache()) if keep else None
        check_cache(cache, hidden, len(self.layers) + (copying is not None))
        mask = check_mask(attention_mask, hidden)
        if output_hidden_states is None:
            output_hidden_states = self.config.output_hidden_states
        seen: list[Tensor] | None = [] if output_hidden_states else None
        if mask is not None and cache is not None and cache.is_initialized:
            last = self._continue_rows(hidden, mask, cache, seen, copying)
        else:
            last = self._run(hidden, mask, cache, seen, copying)
        if return_dict is False:
            return tuple(item for item in (last, cache, tuple(seen) if seen else None) if item is not None)
        return BaseModelOutputWithPast(
            last_hidden_state=last, past_key_values=cache, hidden_states=None if seen is None else tuple(seen)
        )

    def _embed(self, input_ids: Tensor | None, inputs_embeds: Tensor | None) -> Tensor:
        if (input_ids is None) == (inputs_embeds is None):
            raise InvalidInputError(
                "a model takes either input_ids or inputs_embeds",
                tensor="input_ids",
                advice="Pass one of the two.",
            )
        if inputs_embeds is not None:
            return check_embeddings(inputs_embeds, self.config)
        return self.embeddings(check_input_ids(input_ids, self.config))

    def _keeps_state(self, use_cache: bool | None, cache: RecurrentCache | None) -> bool:
        if not self.config.is_causal:
            if cache is not None or use_cache:
                raise InvalidInputError(
                    "a model with the mixer diagonal-bidirectional has no state to go on from",
                    tensor="past_key_values",
                    why="every output depends on all tokens, also on those to come",
                    advice="Pass the whole text each time, with use_cache=False.",
                )
            return False
        if cache is not None:
            return True
        if use_cache is None:
            use_cache = self.config.use_cache and not self.training
        return use_cache and not (self.gradient_checkpointing and self.training)

    def _run(
        self,
        hidden: Tensor,
        mask: Tensor | None,
        cache: RecurrentCache | None,
        seen: list[Tensor] | None,
        copying: Copying | None,
    ) -> Tensor:
        """All layers, for a batch without padding or one at the beginning of its texts."""
        layout = None if mask is None else arrange(mask)
        if layout is not None:
            hidden = take(hidden, layout)
        before = None if cache is None else cache.counts
        positions = self._positions(hidden, layout, before)
        check_length(positions, self.config, hidden.shape[1])
        if self.config.position_embeddings:
            hidden = hidden + self.position_embeddings(positions)
        bump = self.prime_bump(positions) if self.config.use_prime_bump else None
        states: list[LayerState] = []
        for number, layer in enumerate(self.layers):
            if seen is not None:
                seen.append(hidden if layout is None else restore(hidden, layout))
            state = cache.layers[number] if cache is not None and cache.is_initialized else None
            hidden, new_state = layer(hidden, bump, layout, state)
            states.append(new_state)
        hidden = self.norm(hidden)
        if copying is not None:
            state = cache.layers[-1] if cache is not None and cache.is_initialized else None
            hidden, new_state = copying.run(hidden, layout, state)
            states.append(new_state)
        if cache is not None:
            columns = hidden.shape[1]
            full = torch.full((hidden.shape[0],), columns, device=hidden.device)
            cache.advance(states, full if layout is None else layout.counts, columns)
        if layout is not None:
            hidden = restore(hidden, layout)
        if seen is not None:
            seen.append(hidden)
        return hidden

    def _positions(self, hidden: Tensor, layout: Layout | None, before: Tensor | None) -> Tensor | None:
        """The number of each token in its text, (B or 1, N); None where no part of the model asks for it."""
        if not (self.config.position_embeddings or self.config.use_prime_bump or not self.config.is_causal):
            return None
        if layout is not None:
            return layout.positions
        places = torch.arange(hidden.shape[1], device=hidden.device).unsqueeze(0)
        return places if before is None else before.unsqueeze(1) + places

    def _continue_rows(
        self,
        hidden: Tensor,
        mask: Tensor,
        cache: RecurrentCache,
        seen: list[Tensor] | None,
        copying: Copying | None,
    ) -> Tensor:
        """Texts that go on from a state, with padding among the new tokens: each row by itself."""
        results = torch.zeros_like(hidden)
        rows, streams = [], []
        columns = cache.columns + hidden.shape[1]
        for index in range(hidden.shape[0]):
            row, places = cache.row(index), mask[index].nonzero().squeeze(-1)
            stream: list[Tensor] = []
            if len(places):
                own = None if copying is None else copying.at(index, places)
                found = self._run(hidden[index : index + 1, places], None, row, stream, own)
                results[index, places] = found[0]
            row.columns = columns
            rows.append(row)
            streams.append((index, places, stream))
        cache.replace(RecurrentCache.joined(rows))
        if seen is not None:
            for number in range(len(self.layers) + 1):
                level = torch.zeros_like(hidden)
                for index, places, stream in streams:
                    if stream:
                        level[index, places] = stream[number][0]
                seen.append(level)
        return results
