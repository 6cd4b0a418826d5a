"""Lets the tests run from a checkout, where the package may not be installed."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

if importlib.util.find_spec("modelplug_markov") is None:
    sys.path.insert(0, str(Path(__file__).with_name("src")))
    # Discovery and the worker process find what is installed only.
    collect_ignore = ["tests/test_markov_conformance.py"]
