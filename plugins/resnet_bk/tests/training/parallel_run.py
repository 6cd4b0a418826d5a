"""A program that `accelerate launch` starts several times; together they train in the ways they are told.

Standard input is not passed on by the launcher, so the argument is a file: a list of runs as JSON, each with
the folder, the settings, after how many calls of the model to stop, and how the run is to end.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import torch

from resnet_bk.training import TrainingConfig, train
from resnet_bk.training.processes import leave_processes

spec = importlib.util.spec_from_file_location("tiny", Path(__file__).with_name("tiny.py"))
assert spec is not None
assert spec.loader is not None
tiny = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tiny)

torch.set_num_threads(1)

for run in json.loads(Path(sys.argv[1]).read_text()):
    model = tiny.make_model(dropout=0.0)
    stream, validation = tiny.make_stream().split(0.1)
    # Only one of the processes is asked to stop: the others have to hear of it.
    asked = (
        run["stop_after"]
        if torch.distributed.is_initialized() and torch.distributed.get_rank() == 1
        else None
    )
    result = train(
        model,
        stream,
        TrainingConfig.from_dict(run["settings"]),
        output=run["folder"],
        validation=validation,
        resume=True,
        should_stop=lambda model=model, asked=asked: asked is not None and model.calls >= asked,
    )
    assert result.stopped == run["stopped"], result

leave_processes()
