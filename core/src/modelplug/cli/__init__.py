"""The `modelplug` program."""

from modelplug.cli.main import main

__all__ = ["main"]
