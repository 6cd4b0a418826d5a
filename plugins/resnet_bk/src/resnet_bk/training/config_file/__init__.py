"""Files that say everything about a run: the model, its training, the data and where it is kept."""

from __future__ import annotations

from resnet_bk.training.config_file.reading import ConfigFile, read_config_file

__all__ = ["ConfigFile", "read_config_file"]
