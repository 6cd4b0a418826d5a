"""Reads what `torch.save` and `safetensors` wrote as data: nothing is imported, called or executed.

A pickle is followed instruction by instruction by a machine of our own, which builds dicts, lists, numbers
and inert records. Neither torch nor NumPy is needed; the values of tensors are read from the file when they
are asked for.
"""
