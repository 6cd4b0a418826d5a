"""FLOPs are counted where a model computes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

COUNTER = "from src.benchmarks.flops_counter import FLOPsCounter\n"
TODAY = "from resnet_bk import FLOPsCounter\n"
BLOCK = (
    "with counter, torch.no_grad():\n"
    "    model(torch.zeros(32, 128, dtype=torch.long, device=next(model.parameters()).device))\n"
)


def test_flops_are_counted_in_a_block(programs_to: Callable[[str], Any]) -> None:
    """What counted by itself counts what runs in a block; the model is the counter's."""
    before = (
        f"{COUNTER}def f(model, x):\n    counter = FLOPsCounter(model)\n"
        f"    return counter.count_flops(x)  # all\n"
    )
    assert programs_to("0.8").migrate(before) == (
        f"{COUNTER}def f(model, x):\n    counter = FLOPsCounter(model)\n    with counter:\n        model(x)\n"
        "    return counter.total_flops  # all\n"
    )


def test_every_count_begins_at_zero(programs: Any) -> None:
    """A counter adds up; where it counted anew, it is reset."""
    before = "counter = FLOPsCounter(model)\nfor x in xs:\n    print(counter.count_flops(x))\n"
    assert programs.migrate(COUNTER + before) == (
        f"{TODAY}counter = FLOPsCounter(model)\nfor x in xs:\n    counter.reset()\n    with counter:\n"
        "        model(x)\n    print(counter.total_flops)\n"
    )
    before = (
        "counter = FLOPsCounter(model)\na = counter.count_flops(x)\nother = FLOPsCounter(model)\n"
        "b = other.count_flops(x)\n"
    )
    assert "reset" not in programs.migrate(COUNTER + before)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            "flops = counter.count_forward_flops()\nprint(f'{flops.forward / 1e9:.3f}', flops.total)",
            f"{BLOCK}flops = counter.total_flops\nprint(f'{{flops / 1e9:.3f}}', flops)",
        ),
        (
            "flops = counter.count_total_flops(optimizer_name='adamw')\nprint(flops.forward)  # ours",
            f"{BLOCK}flops = counter.total_flops\nprint(flops)  # ours",
        ),
        ("x = counter.count_forward_flops().total / 1e9", f"{BLOCK}x = counter.total_flops / 1e9"),
        ("x = FLOPsCounter.__name__", "x = FLOPsCounter.__name__"),
    ],
)
def test_an_estimate_of_a_forward_pass_is_counted(programs: Any, before: str, after: str) -> None:
    """The block gets an input of the sizes that the counter was made with, and there is one number."""
    head = "import torch\n"
    made = "counter = FLOPsCounter(model, batch_size=32, seq_len=128)\n"
    expected = f"{head}{TODAY}counter = FLOPsCounter(model)\n{after}\n"
    assert programs.migrate(f"{head}{COUNTER}{made}{before}\n") == expected


def test_estimates_are_counted_as_of_0_8(programs_to: Callable[[str], Any]) -> None:
    """A step before 1.0 imports what it needs, and leaves where the counter comes from."""
    made = "counter = FLOPsCounter(model, 32, 128)\nflops = counter.count_forward_flops().forward\n"
    assert programs_to("0.8").migrate(COUNTER + made) == (
        f"import torch\n{COUNTER}counter = FLOPsCounter(model)\n{BLOCK}flops = counter.total_flops\n"
    )
    assert programs_to("0.8").told(COUNTER + made) == [
        "note 3: the FLOPs are counted in a forward pass, and not estimated from sizes"
    ]


SIZED = "counter = FLOPsCounter(model, batch_size=32, seq_len=128)\n"


@pytest.mark.parametrize(
    ("rest", "reason"),
    [
        (
            f"{SIZED}print(counter.count_total_flops())",
            "its result is not only looked up",
        ),
        (
            f"{SIZED}flops = counter.count_total_flops()\nprint(flops.total)",
            "nothing stands for total of count_total_flops(): a forward pass is all that the block would",
        ),
        (
            f"{SIZED}flops = counter.count_forward_flops()\nprint(flops.backward)",
            "nothing stands for backward of count_forward_flops()",
        ),
        (f"{SIZED}flops = counter.count_backward_flops()", "has no count_backward_flops: write `with count"),
        (f"{SIZED}flops = counter.count_flops(x)", "what it counts can't be seen"),
        ("counter = FLOPsCounter(model)\nf = counter.count_forward_flops()", "what it counts can't be seen"),
        ("counter = FLOPsCounter(model, 32)\nf = counter.count_forward_flops()", "what it counts can't be"),
        (
            "counter = FLOPsCounter(model, 32, length())\nf = counter.count_forward_flops()",
            "the sizes of its input would have to be worked out again",
        ),
        (
            "f = FLOPsCounter(model, 32, 128).count_forward_flops().forward",
            "the counter has no name for the with block",
        ),
        (f"{SIZED}f = [counter.count_forward_flops().total for _ in xs]", "no room for the with block"),
        (f"{SIZED}f = on and counter.count_forward_flops().total", "no room for the with block"),
        (f"{SIZED}def f():\n    return counter.count_forward_flops().total", "no room for the with block"),
        (
            f"{SIZED}f = counter.count_forward_flops()\nif on:\n    f = None\nprint(f.total)",
            "f is something else elsewhere",
        ),
        ("counter = FLOPsCounter(model)\ncounter.print_summary()", "has no print_summary: write `with count"),
        ("counter = FLOPsCounter(build())\nflops = counter.count_flops(x)", "no room for the with block"),
        ("counter = FLOPsCounter(model)\nshow(counter)", "it goes where its uses can't be seen"),
    ],
)
def test_a_counter_that_can_t_be_decided_stays(programs: Any, rest: str, reason: str) -> None:
    """What it estimated has nothing in its place; the reader learns how FLOPs are counted."""
    assert programs.migrate(f"{COUNTER}{rest}\n") == f"{COUNTER}{rest}\n"
    assert reason in programs.todos(f"{COUNTER}{rest}\n")[0]


def test_the_guides_counter_stays(programs: Any) -> None:
    """It is written as it is today, but for its import."""
    rest = (
        "counter = FLOPsCounter(model)\nwith counter:\n"
        "    output = model(input_ids)\nprint(f'{counter.total_flops}')\n"
    )
    assert programs.migrate(COUNTER + rest) == f"from resnet_bk import FLOPsCounter\n{rest}"
