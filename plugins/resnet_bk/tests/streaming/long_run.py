"""What a process of its own does for `test_long_run.py`; prints what it found as JSON.

python long_run.py evaluate TOKENS.npy     perplexity of all of it, piece by piece, and the peak of memory
python long_run.py compare TOKENS.npy      the stream's logits against those of one pass over the text
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy
import torch

from resnet_bk import StreamingEvaluator
from resnet_bk.backend.demo_model import demo_directory
from resnet_bk.modeling import ResNetBK


def peak_bytes() -> int:
    """The most main memory that this program had at once, without what ran in this process before it."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def evaluate(model: Any, tokens: numpy.ndarray[Any, Any]) -> dict[str, Any]:
    """Perplexity, speed and memory."""
    before = peak_bytes()
    found = StreamingEvaluator(model).evaluate(tokens)
    return {
        "tokens": found.tokens,
        "perplexity": float(found),
        "seconds": found.seconds,
        "state_bytes": model.config.state_bytes,
        "peak_before": before,
        "peak": peak_bytes(),
    }


@torch.no_grad()
def compare(model: Any, tokens: numpy.ndarray[Any, Any]) -> dict[str, Any]:
    """The largest difference of a logit, for two sizes of chunks, and without what was read before."""
    whole = torch.from_numpy(numpy.asarray(tokens, dtype=numpy.int64)).unsqueeze(0)
    hidden = model.model(whole, use_cache=False, copying=model.copying(whole)).last_hidden_state
    largest = {}
    for size in (1000, 8192):
        start, difference = 0, 0.0
        for logits in model.stream_state().logits(whole, chunk_size=size):
            expected = model.lm_head(hidden[:, start : start + logits.shape[1]])
            difference = max(difference, float((logits - expected).abs().max()))
            start += logits.shape[1]
        largest[str(size)] = difference
    forgetful = next(model.stream_state().logits(whole[:, start // 2 :], chunk_size=16))
    remembered = model.lm_head(hidden[:, start // 2 : start // 2 + 16])
    return {
        "tokens": start,
        "largest_difference": largest,
        "difference_without_state": float((forgetful - remembered).abs().max()),
    }


def main(task: str, path: str) -> None:
    """Do one of the two, with the bundled model of a million parameters."""
    model = ResNetBK.from_pretrained(demo_directory(), dtype=torch.float32).eval()
    tokens = numpy.load(path, mmap_mode="r")
    print(json.dumps({"evaluate": evaluate, "compare": compare}[task](model, tokens)))


if __name__ == "__main__":
    main(*sys.argv[1:])
