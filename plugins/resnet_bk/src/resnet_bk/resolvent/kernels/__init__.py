"""The exact operations three times: in PyTorch, in C for the CPU, in Triton for GPUs."""
