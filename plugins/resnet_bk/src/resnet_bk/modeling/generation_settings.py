"""Keeps a setting of the model apart from a parameter of generation with the same name."""

from __future__ import annotations

from typing import Any

from transformers import GenerationConfig

__all__ = ["OwnGenerationConfig"]


class OwnGenerationConfig(GenerationConfig):  # type: ignore[misc]
    """How to generate, where a model does not say; `top_k` of its configuration counts experts."""

    @classmethod
    def from_model_config(cls, model_config: Any) -> Any:
        """Take start and end tokens from a model's configuration.

        Args:
            model_config: The configuration.
        """
        values = dict(model_config if isinstance(model_config, dict) else model_config.to_dict())
        values.pop("top_k", None)
        if model_config.is_causal:
            return super().from_model_config(values)
        return super().from_model_config({**values, "use_cache": False})
