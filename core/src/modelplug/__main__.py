"""Runs the `modelplug` program: `python -m modelplug`."""

from __future__ import annotations

from modelplug.cli import main

if __name__ == "__main__":
    main()
