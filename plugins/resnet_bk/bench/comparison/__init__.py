"""What the benchmarks against other models share: those models, their training, and files of results."""
