"""Layers whose weights are codes; they compute in the dtype of what they are given."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from resnet_bk.modeling.green_gates import GreenGates
from resnet_bk.quantization.codes import decode, encode

__all__ = ["QuantizedEmbedding", "QuantizedGates", "QuantizedLinear", "QuantizedMatrix", "TiedOutput"]


class QuantizedMatrix(nn.Module):  # type: ignore[misc]
    """A matrix that is kept as codes and scales.

    Args:
        weight: The matrix, (rows, columns).
        bits: Bits of a weight.
        group_size: Neighbours in a row that share a scale; None for whole rows.

    Attributes:
        codes: The whole numbers.
        scales: What they are multiplied with.
        error: ||weight - decoded|| / ||weight||; None for a matrix that was read from a file.
    """

    codes: Tensor
    scales: Tensor

    def __init__(self, weight: Tensor, bits: int, group_size: int | None) -> None:
        super().__init__()
        self.rows, self.columns = weight.shape
        self.bits = bits
        self.group_size = group_size
        self.error: float | None = None
        with torch.no_grad():
            codes, scales = encode(weight, bits, group_size)
            self.register_buffer("codes", codes)
            self.register_buffer("scales", scales)
            if not weight.is_meta:
                whole = weight.double()
                size = float(whole.norm())
                self.error = float((whole - self.weight.double()).norm()) / size if size else 0.0

    @property
    def weight(self) -> Tensor:
        """The matrix, decoded anew each time, (rows, columns)."""
        return self.decoded(self.scales.dtype)

    def decoded(self, dtype: torch.dtype) -> Tensor:
        """The matrix in a dtype of its own, (rows, columns)."""
        return self._decode(self.codes, self.scales.to(dtype))

    def _decode(self, codes: Tensor, scales: Tensor) -> Tensor:
        return decode(codes, scales, bits=self.bits, group_size=self.group_size, columns=self.columns)

    def extra_repr(self) -> str:
        """Size and format."""
        group = self.group_size or "row"
        return f"rows={self.rows}, columns={self.columns}, bits={self.bits}, group={group}"


class QuantizedLinear(QuantizedMatrix):
    """`torch.nn.Linear` with a quantised matrix; the bias is kept as it is.

    Args:
        linear: The layer to replace.
        bits: Bits of a weight.
        group_size: Neighbours in a row that share a scale; None for whole rows.
    """

    def __init__(self, linear: nn.Linear, bits: int, group_size: int | None) -> None:
        super().__init__(linear.weight, bits, group_size)
        self.in_features = linear.in_features
        self.out_features = linear.out_features
        self.bias = linear.bias

    def forward(self, inputs: Tensor) -> Tensor:
        """The linear map.

        Args:
            inputs: (..., in_features).
        """
        return _linear(inputs, self.weight, self.bias)


class QuantizedEmbedding(QuantizedMatrix):
    """`torch.nn.Embedding` with a quantised table, of which only the rows that are asked for are decoded.

    Args:
        embedding: The layer to replace.
        bits: Bits of a weight.
        group_size: Neighbours in a row that share a scale; None for whole rows.
    """

    def __init__(self, embedding: nn.Embedding, bits: int, group_size: int | None) -> None:
        super().__init__(embedding.weight, bits, group_size)
        self.num_embeddings = embedding.num_embeddings
        self.embedding_dim = embedding.embedding_dim

    def forward(self, places: Tensor) -> Tensor:
        """The rows at some places.

        Args:
            places: Whole numbers of any shape.

        Returns:
            (..., embedding_dim).
        """
        rows = places.flatten()
        return self._decode(self.codes[rows], self.scales[rows]).unflatten(0, places.shape)


class TiedOutput(nn.Module):  # type: ignore[misc]
    """The output of a model that shares one quantised table with its embeddings; it has no matrix of its own.

    Args:
        embeddings: The embeddings.
        linear: The layer to replace.
    """

    def __init__(self, embeddings: QuantizedEmbedding, linear: nn.Linear) -> None:
        super().__init__()
        # Not as a module of this one: the table would be saved twice.
        self._shared = (embeddings,)
        self.in_features = linear.in_features
        self.out_features = linear.out_features
        self.bias = linear.bias

    @property
    def weight(self) -> Tensor:
        """The table, decoded anew each time."""
        return self._shared[0].weight

    def forward(self, inputs: Tensor) -> Tensor:
        """The linear map.

        Args:
            inputs: (..., in_features).
        """
        return _linear(inputs, self.weight, self.bias)


class QuantizedGates(GreenGates):
    """`GreenGates` with a quantised matrix; energies, widths and biases are kept as they are.

    Like all gates they compute in float32 at least, so the matrix is rounded to nothing else.
    """

    projection: QuantizedMatrix

    @property
    def weight(self) -> Tensor:
        """The matrix, decoded anew each time."""
        return self.projection.decoded(torch.promote_types(self.projection.scales.dtype, torch.float32))

    @staticmethod
    def take_over(gates: GreenGates, bits: int, group_size: int | None) -> None:
        """Turn gates into quantised ones."""
        weight = gates.weight.to(torch.promote_types(gates.weight.dtype, torch.float32))
        del gates.weight
        gates.projection = QuantizedMatrix(weight, bits, group_size)
        gates.__class__ = QuantizedGates

    @staticmethod
    def give_back(gates: GreenGates) -> None:
        """Turn quantised gates into usual ones, whose matrix is the decoded one."""
        weight = nn.Parameter(gates.weight)
        del gates.projection
        gates.__class__ = GreenGates
        gates.weight = weight


def _linear(inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    dtype = inputs.dtype
    return functional.linear(inputs, weight.to(dtype), None if bias is None else bias.to(dtype))
