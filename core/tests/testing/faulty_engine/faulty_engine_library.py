"""Stands for an engine that takes long to import."""

from __future__ import annotations

VERSION = "2.5"
