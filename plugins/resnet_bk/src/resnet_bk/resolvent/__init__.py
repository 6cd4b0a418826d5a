"""The resolvent (H - z)^-1 of a tridiagonal H in O(N), exactly, gradients too: diagonals, operators, gates.

H has the real diagonal a_i (potential) and off-diagonal entries b_i, c_i between sites i - 1 and i (hopping),
s_i = b_i c_i >= 0; z = E + i eta lies above the real axis. Then every denominator d_i of the continued
fractions has Im d_i <= -eta (the Herglotz property), and no regulariser, clamp or replacement of NaN is
needed: values that are not finite are refused with the name of the argument.

Cotangents X^ = dL/dRe X + i dL/dIm X of the operations, conj = *, t and w beyond the last site 0:

    causal g     t_i = (g_i^2)* (G^_i + s_{i+1} t_{i+1});  da_i = -Re t_i,  ds_i = Re(t_i* g_{i-1})
    full G       w_i = (G_ii^2)* G^_i;  then t_i = (g_i^2)* s_{i+1} (w_{i+1} + t_{i+1}), its mirror image p_i
    on r,
                 da_i = -Re(w_i + t_i + p_i),  ds_i = Re((w_i + t_i)* g_{i-1}) + Re((w_{i-1} + p_{i-1})* r_i)
    operator     u^_i = g_i* (Y^_i - c_{i+1} u^_{i+1});  dc_i = -Re(u^_i* y_{i-1}) and t_i gains u^_i y_i*
    state        R^_i = q_i o^_i^T + alpha_{i+1}* R^_{i+1};  dalpha_i = sum conj(R_{i-1}) R^_i
    E and eta    dE = sum Re(...), deta = sum Im(...) of the same t, w, p

Leading dimensions (batch, heads) are free and broadcast, strides too. float32 and float64 are computed as
such; the relative error in float32 is about 1e-7 / eta.
"""

from __future__ import annotations

from resnet_bk.resolvent.matrix_state import GatedState, gated_state, gated_state_step
from resnet_bk.resolvent.operations import (
    CausalGreen,
    Gates,
    causal_gates,
    causal_green_diagonal,
    causal_green_operator,
    green_diagonal,
    green_operator,
)
from resnet_bk.resolvent.selection import KernelChoice, choose_kernel, kernel_report

__all__ = [
    "CausalGreen",
    "GatedState",
    "Gates",
    "KernelChoice",
    "causal_gates",
    "causal_green_diagonal",
    "causal_green_operator",
    "choose_kernel",
    "gated_state",
    "gated_state_step",
    "green_diagonal",
    "green_operator",
    "kernel_report",
]
