"""`python -m resnet_bk.cli`, which is what `accelerate launch -m` needs."""

from __future__ import annotations

from resnet_bk.cli.main import main

main()
