"""Moves configs, checkpoints and code from one version of a system to the next without losing anything."""
