"""Cores, routers and matrices: what they are given, and what they give."""

from __future__ import annotations

from textwrap import dedent
from typing import Any

import pytest

CORE = "from src.models.birman_schwinger_core import BirmanSchwingerCore\n"
ROUTER = "from src.models.scattering_router import ScatteringRouter\n"
MATRIX = "from src.models.semiseparable_matrix import SemiseparableMatrix\n"
BK = "from src.models.bk_core import BKCoreFunction\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("core(v)", "core(v, z=1.0j)"),
        ("core.forward(v)", "core.forward(v, z=1.0j)"),
        ("features, facts = core(v)", "features, facts = core(v, z=1.0j)"),
        ("core(v=x)", "core(v=x, z=1.0j)"),
        ("core(\n    v,  # potential\n)", "core(\n    v, z=1.0j,  # potential\n)"),
        ("core(v, z=2j)", "core(v, z=2j)"),
        ("core(v, 2j)", "core(v, 2j)"),
        ("core.to(device)(v)", "core.to(device)(v, z=1.0j)"),
    ],
)
def test_a_core_is_given_z(programs: Any, before: str, after: str) -> None:
    """Where z was left out it is given, with the value it had."""
    made = "core = BirmanSchwingerCore(8)\n"
    assert (
        programs.migrate(f"{CORE}{made}{before}\n")
        == f"from resnet_bk import BirmanSchwingerCore\n{made}{after}\n"
    )


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("n_seq=8, enable_gradient_checkpointing=True", "n_seq=8"),
        ("8, 0.5, use_bitnet=False, use_lap=False", "8, 0.5, use_lap=False"),
        ("8, 1.0, True, True, 100.0, 1e6, True, None, False", "8, 1.0, True, True, 100.0, 1e6, True, None"),
    ],
)
def test_what_a_core_is_made_of(programs: Any, before: str, after: str) -> None:
    """Arguments that nothing depends on any more go."""
    text = programs.migrate(f"{CORE}core = BirmanSchwingerCore({before})\n")
    assert text == f"from resnet_bk import BirmanSchwingerCore\ncore = BirmanSchwingerCore({after})\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("experts = router(g)", "experts, _ = router(g)"),
        ("experts, weights = router(g)", "experts, weights = router(g)"),
        ("experts, weights, facts = router(g)", "experts, weights = router(g)"),
        ("(experts, weights, _) = router(g)", "(experts, weights) = router(g)"),
        ("experts, weights, facts = router(g, 0.5)", "experts, weights = router(g)"),
        ("experts, weights = router(G_ii=g, epsilon=e)", "experts, weights = router(diagonal=g)"),
        ("weights = router(g)[1]", "weights = router(g)[1]"),
        ("both = router(g)\nexperts, weights = both", "both = router(g)\nexperts, weights = both"),
        ("router(g)", "router(g)"),
    ],
)
def test_a_router_gives_two_things(programs: Any, before: str, after: str) -> None:
    """One, two and three results become two."""
    made = "router = ScatteringRouter(8)\n"
    text = programs.migrate(f"{ROUTER}{made}{before}\n")
    assert text == f"from resnet_bk import ScatteringRouter\n{made}{after}\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("8", "8"),
        ("num_experts=8, use_clark_measure=False, resonance_threshold=0.1", "num_experts=8"),
        ("8, top_k_resonance=3, top_k_normal=1", "8, top_k=3"),
        ("8, False, 0.1, 2, 1", "8"),
        ("8, top_k_resonance=k", "8, top_k=max(k, 1)"),
        ("8, top_k=2", "8, top_k=2"),
    ],
)
def test_what_a_router_is_made_of(programs: Any, before: str, after: str) -> None:
    """The larger number of experts counts, and 2 needs no word."""
    text = programs.migrate(f"{ROUTER}router = ScatteringRouter({before})\n")
    assert text == f"from resnet_bk import ScatteringRouter\nrouter = ScatteringRouter({after})\n"


@pytest.mark.parametrize(
    ("rest", "reason"),
    [
        ("a, b, facts = router(g)\nprint(facts['mean_phase'])", "its diagnostics are read"),
        ("m = router.compute_clark_measure(g)", "has no compute_clark_measure"),
        ("x = router(g)\nx[0]", "whether its result is one tensor or several can't be seen"),
        ("f(router(g))", "what becomes of its result can't be seen"),
        ("f(router)", "it goes where its uses can't be seen"),
        ("a, *b = router(g)", "into what its result is taken apart can't be seen"),
        ("if c:\n    router = Other()\na = router(g)", "whether router is one can't be seen everywhere"),
    ],
)
def test_a_router_with_a_use_that_can_t_be_decided_stays(programs: Any, rest: str, reason: str) -> None:
    """All of it stays, with its import, so that a name means one thing in a file."""
    text = f"{ROUTER}router = ScatteringRouter(8, top_k_resonance=3)\n{rest}\n"
    assert programs.migrate(text) == text
    assert reason in programs.todos(text)[0]


def test_a_router_in_a_module_is_followed(programs: Any) -> None:
    """Attributes of `self` are followed."""
    before = """\
    from src.models.scattering_router import ScatteringRouter

    class Layer(Module):
        def __init__(self):
            self.router = ScatteringRouter(num_experts=4)

        def forward(self, g):
            experts, weights, _ = self.router(g, self.epsilon)
            return experts
    """
    assert "experts, weights = self.router(g)\n" in programs.migrate(dedent(before))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("T, U, V = m.factorize(H)", "T, U, V = m.factorize(H)"),
        ("m.factorize(H)", "m.factorize(H)"),
        ("t, (u, v) = m.factorize(H)", "t, u, v = m.factorize(H)"),
        ("t, low = m.factorize(H)\nu, v = low", "t, *low = m.factorize(H)\nu, v = low"),
        ("t, low = m.factorize(H)\nu = low[0]", "t, *low = m.factorize(H)\nu = low[0]"),
        ("t, low = m.factorize(H)", "t, *low = m.factorize(H)"),
        (
            "t, low = m.factorize(H)  # both\ny = t + low",
            "t, low_U, low_V = m.factorize(H)  # both\nlow = low_U @ low_V.mT\ny = t + low",
        ),
        ("all = m.factorize(H)\nt, u, v = all", "all = m.factorize(H)\nt, u, v = all"),
    ],
)
def test_a_matrix_gives_three_things(programs: Any, before: str, after: str) -> None:
    """A pair becomes T, U and V, or T and what the second one was made of them."""
    made = "m = SemiseparableMatrix(8)\n"
    text = programs.migrate(f"{MATRIX}{made}{before}\n")
    assert text == f"from resnet_bk import SemiseparableMatrix\n{made}{after}\n"


def test_what_t_is_now_is_told(programs: Any) -> None:
    """T was a matrix, and is three diagonals."""
    told = programs.told(f"{MATRIX}m = SemiseparableMatrix(8)\nT, U, V = m.factorize(H)\nprint(T)\n")
    assert told == ["warning 3: T holds the three diagonals of T now, (3, N), and not T itself"]


@pytest.mark.parametrize(
    ("rest", "reason"),
    [
        ("f = m.factorize(H)\nf[1]", "whether two or three things are taken of its result can't be seen"),
        ("m.main_diag", "has no main_diag"),
        ("a, b, c, d = m.factorize(H)", "into what its result is taken apart can't be seen"),
    ],
)
def test_a_matrix_that_can_t_be_decided_stays(programs: Any, rest: str, reason: str) -> None:
    """It stays with its import, and is told."""
    text = f"{MATRIX}m = SemiseparableMatrix(8)\n{rest}\n"
    assert programs.migrate(text) == text
    assert reason in programs.todos(text)[0]


def test_other_factorizations_stay(programs: Any) -> None:
    """A method of the same name, of something else, is none of ours."""
    text = (
        "from src.models.memory_optimization import HierarchicalSemiseparable\n"
        "m = HierarchicalSemiseparable(8)\nt, low = m.factorize(H)\n"
    )
    assert programs.migrate(text) == text


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("features = BKCoreFunction.apply(a, z)", "features, _ = BKCoreFunction.apply(a, z)"),
        ("f = BKCoreFunction.apply(a, z)\nf[..., 0]", "f, _ = BKCoreFunction.apply(a, z)\nf[..., 0]"),
        ("x = f(BKCoreFunction.apply(a, z))", "x = f(BKCoreFunction.apply(a, z)[0])"),
        ("x = BKCoreFunction.apply(a, z).sum()", "x = BKCoreFunction.apply(a, z)[0].sum()"),
        (
            "def f():\n    return BKCoreFunction.apply(a, z)",
            "def f():\n    return BKCoreFunction.apply(a, z)[0]",
        ),
        ("features, g = BKCoreFunction.apply(a, z)", "features, g = BKCoreFunction.apply(a, z)"),
        ("x = BKCoreFunction.apply(a, z)[0]", "x = BKCoreFunction.apply(a, z)[0]"),
        ("BKCoreFunction.apply(a, z)", "BKCoreFunction.apply(a, z)"),
        ("_ = BKCoreFunction.apply(a, z)", "_ = BKCoreFunction.apply(a, z)"),
        ("both = BKCoreFunction.apply(a, z)\nf, g = both", "both = BKCoreFunction.apply(a, z)\nf, g = both"),
        ("f = BKCoreFunction.apply(a, z)\nf[0]", "f = BKCoreFunction.apply(a, z)\nf[0]"),
    ],
)
def test_the_core_function_gives_two_things(programs: Any, before: str, after: str) -> None:
    """What took the features alone takes the first of two."""
    assert programs.migrate(f"{BK}{before}\n") == f"{BK}{after}\n"


def test_a_program_that_takes_two_things_somewhere_is_left(programs: Any) -> None:
    """It is written for two results; a place that is not is told."""
    text = f"{BK}f, g = BKCoreFunction.apply(a, z)\ndef other():\n    return BKCoreFunction.apply(a, z)\n"
    assert programs.migrate(text) == text
    assert (
        programs.todos(text)[1]
        == "4: what is taken of BKCoreFunction.apply can't be seen: it gives the features and G"
    )


def test_prime_bumps(programs: Any) -> None:
    """Positional arguments are named, as their order changed; the values are an attribute."""
    before = (
        "from src.models.prime_bump_potential import PrimeBumpPotential\n"
        "p = PrimeBumpPotential(8, 1.0, 3)\nv = p.compute_potential()\n"
    )
    assert programs.migrate(before) == (
        "from resnet_bk import PrimeBumpPotential\n"
        "p = PrimeBumpPotential(8, epsilon=1.0, k_max=3)\nv = p.values\n"
    )
