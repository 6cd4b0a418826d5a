"""The whole model: tokens in, logits of the next token out, and generation with a state of one size."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from transformers import GenerationConfig, GenerationMixin
from transformers.modeling_outputs import CausalLMOutputWithPast

from resnet_bk.configuration import ConfigurationError, MambaKillerConfig
from resnet_bk.configuration.warnings import warn_about
from resnet_bk.modeling.backbone import ResNetBKModel
from resnet_bk.modeling.cache import RecurrentCache
from resnet_bk.modeling.copy_memory import Copying, CopyMemory
from resnet_bk.modeling.generation_settings import OwnGenerationConfig
from resnet_bk.modeling.pretrained import ResNetBKPreTrainedModel

if TYPE_CHECKING:
    from resnet_bk.streaming import StreamState

__all__ = ["ResNetBK", "ResNetBKForCausalLM"]


class ResNetBKForCausalLM(ResNetBKPreTrainedModel, GenerationMixin):  # type: ignore[misc]
    """A language model: `model(input_ids).logits`. `ResNetBK` is another name of this class.

    Args:
        config: The configuration.
        old_arguments: What versions before 1.0 took instead; refused, with what to write.
    """

    generation_config: GenerationConfig
    generation_config_class = OwnGenerationConfig
    _tied_weights_keys = {"lm_head.weight": "model.embeddings.weight"}  # noqa: RUF012  transformers reads it so

    def __init__(self, config: MambaKillerConfig | None = None, **old_arguments: Any) -> None:
        if config is None or old_arguments:
            given = ", ".join(f"{name}=..." for name in old_arguments)
            raise ConfigurationError(
                "a model is built from a configuration",
                key=next(iter(old_arguments), ""),
                why=f"{given} are settings, and stand in a MambaKillerConfig since 1.0"
                if given
                else "none was given",
                advice=f"Write ResNetBK(MambaKillerConfig({given or 'vocab_size=..., d_model=...'})); "
                "`modelplug migrate plan PATH` does it for whole programs.",
            )
        super().__init__(config)
        warn_about(config, stacklevel=2)
        self.model = ResNetBKModel(config, warn=False)
        self.lm_head = nn.Linear(config.d_model, config.vocab_size, bias=bool(config.head_bias))
        if config.copy_key_dim:
            self.copy_memory = CopyMemory(config)
        self.post_init()
        # The backbone leaves these alone, and transformers has the whole model do what its parts do.
        self._keys_to_ignore_on_load_unexpected -= set(self.model._keys_to_ignore_on_load_unexpected)

    def get_input_embeddings(self) -> nn.Module:
        """The matrix of token vectors."""
        return self.model.embeddings

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Put another one in its place."""
        self.model.embeddings = value

    def get_output_embeddings(self) -> nn.Module:
        """The last linear map."""
        return self.lm_head

    def set_output_embeddings(self, value: nn.Module) -> None:
        """Put another one in its place."""
        self.lm_head = value

    @classmethod
    def _supports_default_dynamic_cache(cls) -> bool:
        # The state is our own, and made by the first forward pass.
        return False

    def adjust_generation_fn(
        self,
        generation_config: GenerationConfig | None,
        from_auto_class: Any,
        from_pipeline: Any,
        pretrained_model_name_or_path: str | os.PathLike[str] | None,
        **options: Any,
    ) -> None:
        """Take in `generation_config.json`, but not what transformers makes of `config.json` without it."""
        if generation_config is None and pretrained_model_name_or_path is not None:
            folder = Path(pretrained_model_name_or_path, options.get("subfolder") or "")
            if folder.is_dir() and not (folder / "generation_config.json").is_file():
                return
        own = self.generation_config
        super().adjust_generation_fn(
            generation_config, from_auto_class, from_pipeline, pretrained_model_name_or_path, **options
        )
        if self.generation_config._from_model_config:
            self.generation_config = own

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        past_key_values: RecurrentCache | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        **options: Any,
    ) -> Any:
        """Compute the logits of the token after each token, and with labels the loss.

        Args:
            input_ids: Tokens, (B, N).
            attention_mask: 1 at tokens, 0 at padding, (B, N) or (B, all tokens so far).
            past_key_values: The state after the tokens before these; it is changed.
            inputs_embeds: Vectors in place of tokens, (B, N, d_model). Which tokens they are is not known,
                so a copy memory keeps nothing of them.
            labels: The tokens themselves, (B, N): they are shifted here. -100 where none counts.
            use_cache: Whether to return the state; None does so outside training.
            output_hidden_states: Whether to return the residual stream between the layers, too.
            return_dict: Whether the result is an object with names; False gives a tuple.
            logits_to_keep: How many of the last tokens to give logits for, or which; 0 for all.
            options: For the loss, as transformers passes them.

        Returns:
            `loss` if there are labels, `logits` (B, N, vocab_size), `past_key_values`, `hidden_states`.

        Raises:
            InvalidInputError: An input can't be computed with; it is named.
        """
        found = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            use_cache=use_cache,
            output_hidden_states=output_hidden_states,
            copying=self.copying(input_ids),
        )
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.lm_head(found.last_hidden_state[:, kept])
        loss = None
        if labels is not None:
            loss = self.loss_function(
                logits=logits, labels=labels, vocab_size=self.config.vocab_size, **options
            )
        if return_dict is False:
            items = (loss, logits, found.past_key_values, found.hidden_states)
            return tuple(item for item in items if item is not None)
        return CausalLMOutputWithPast(
            loss=loss,
            logits=logits,
            past_key_values=found.past_key_values,
            hidden_states=found.hidden_states,
        )

    def copying(self, input_ids: Tensor | None) -> Copying | None:
        """What `self.model` takes besides, so that the copy memory adds to its hidden states.

        Args:
            input_ids: The tokens, (B, N); None where only their vectors are known.

        Returns:
            None for a model without a copy memory.
        """
        if not self.config.copy_key_dim:
            return None
        return Copying(self.copy_memory, self.lm_head, input_ids)

    def stream_state(self, batch_size: int = 1) -> StreamState:
        """What goes through a text piece by piece, in memory that does not grow.

        Args:
            batch_size: Texts at the same time.

        Raises:
            ConfigurationError: The model sees the future, so there is nothing to go on from.
        """
        from resnet_bk.streaming import StreamState

        return StreamState(self, batch_size=batch_size)


ResNetBK = ResNetBKForCausalLM
