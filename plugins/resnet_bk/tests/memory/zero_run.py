"""A program that is started twice; both train together, with the optimizer's state divided between them.

Arguments: the number of the process, how many there are, and a folder for the rendezvous and the results.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
import torch.distributed
from torch.distributed.fsdp import fully_shard

from resnet_bk import MambaKillerConfig, MemoryOptimizer, ResNetBK

rank, count, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
torch.set_num_threads(1)
if count > 1:
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=count
    )
torch.manual_seed(0)
# In float64, for which the order of sums does not show.
model = ResNetBK(MambaKillerConfig(vocab_size=60, d_model=32, n_layers=3, copy_key_dim=4)).double()
saver = MemoryOptimizer(use_zero=True, use_gradient_checkpointing=True, world_size=count, rank=rank)
model = saver.optimize(model)
optimizer = saver.make_optimizer(model, lr=0.01, weight_decay=0.1)
called = torch.nn.parallel.DistributedDataParallel(model) if count > 1 else model
tokens = torch.randint(0, 60, (5, 8, 20))
for batch in tokens:
    own = batch.chunk(count)[rank]
    logits = called(own, use_cache=False).logits
    optimizer.zero_grad()
    torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), own[:, 1:].flatten()).backward()
    optimizer.step()
report = saver.report()
sharded = MemoryOptimizer(use_zero=True)
if count > 1:
    part = fully_shard(torch.nn.Linear(4, 4), mesh=torch.distributed.init_device_mesh("cpu", (count,)))
    kept = sharded.wrap_optimizer(torch.optim.AdamW, part.parameters())
result = {
    "parameters": model.state_dict(),
    "state_bytes": report.optimizer_state,
    "parameter_bytes": report.parameters,
    "kind": type(optimizer).__name__,
    "zero": str(report["use_zero"]),
    "of_sharded": str(sharded.report()["use_zero"]),
}
torch.save(result, folder / f"{count}-{rank}.pt")
if count > 1:
    torch.distributed.destroy_process_group()
