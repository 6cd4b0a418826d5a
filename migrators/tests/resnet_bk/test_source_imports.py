"""Imports come from `resnet_bk`, whatever way they were written."""

from __future__ import annotations

from textwrap import dedent
from typing import Any

import pytest

TODAY = "from resnet_bk import MambaKillerConfig, ResNetBK\n"
LINE = "from src.models.resnet_bk import LanguageModel"
CALL = "m = LanguageModel(d_model=3)\n"
MADE = "m = ResNetBK(MambaKillerConfig(d_model=3))\n"


@pytest.mark.parametrize(
    "line",
    [
        "from src.models.resnet_bk import LanguageModel",
        "from src.models import LanguageModel",
        "from models.resnet_bk import LanguageModel",
        "from .resnet_bk import LanguageModel",
        "from ..resnet_bk import LanguageModel",
        "from ..models.resnet_bk import LanguageModel",
        "from ...src.models.resnet_bk import LanguageModel",
        "from vendored.src.models.resnet_bk import LanguageModel",
    ],
)
def test_every_way_to_import_is_understood(programs: Any, line: str) -> None:
    """The older package was reached in many ways; today there is one."""
    assert programs.migrate(f"{line}\n{CALL}") == f"{TODAY}{MADE}"


@pytest.mark.parametrize(
    ("line", "call"),
    [
        ("import src.models.resnet_bk as rb", "rb.LanguageModel"),
        ("import src.models.resnet_bk", "src.models.resnet_bk.LanguageModel"),
        ("from src.models import resnet_bk", "resnet_bk.LanguageModel"),
        ("from src.models import resnet_bk as rb", "rb.LanguageModel"),
        ("from src import models", "models.LanguageModel"),
        ("from . import resnet_bk as rb", "rb.LanguageModel"),
    ],
)
def test_names_of_modules_are_understood(programs: Any, line: str, call: str) -> None:
    """A class that is reached through its module is imported by its name."""
    assert programs.migrate(f"{line}\nm = {call}(d_model=3)\n") == f"{TODAY}{MADE}"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            "from src.models.resnet_bk import LanguageModel as ResNetBK\nm = ResNetBK(d_model=3)\n",
            f"{TODAY}{MADE}",
        ),
        (
            "from src.models.resnet_bk import LanguageModel as Baseline\nm = Baseline(d_model=3)\n",
            (
                "from resnet_bk import MambaKillerConfig, ResNetBK as Baseline\n"
                "m = Baseline(MambaKillerConfig(d_model=3))\n"
            ),
        ),
        ("from src.models.resnet_bk import LanguageModel\n", "from resnet_bk import LanguageModel\n"),
        (
            "from src.models.resnet_bk import LanguageModel, ResNetBKBlock\n" + CALL,
            f"from src.models.resnet_bk import ResNetBKBlock\n{TODAY}{MADE}",
        ),
        (
            "from src.models.resnet_bk import ResNetBKBlock, LanguageModel  # both\n" + CALL,
            f"from src.models.resnet_bk import ResNetBKBlock  # both\n{TODAY}{MADE}",
        ),
        (
            (
                "from src.models.resnet_bk import ResNetBK\nfrom src.utils.config import MambaKillerConfig\n"
                "m = ResNetBK(MambaKillerConfig(d_model=3))\n"
            ),
            f"{TODAY}{MADE}",
        ),
        (
            (
                "from src.utils.config import MambaKillerConfig\n"
                "\nfrom src.models.resnet_bk import LanguageModel\n"
            )
            + CALL,
            f"from resnet_bk import MambaKillerConfig\n\nfrom resnet_bk import ResNetBK\n{MADE}",
        ),
        (
            "from resnet_bk import MambaKillerConfig\nfrom src.models.resnet_bk import LanguageModel\n"
            + CALL,
            f"from resnet_bk import MambaKillerConfig\nfrom resnet_bk import ResNetBK\n{MADE}",
        ),
        (
            "import a; from src.models.resnet_bk import LanguageModel\n" + CALL,
            f"import a; {TODAY}{MADE}",
        ),
        (
            "import os, src.models.resnet_bk as rb\nm = rb.LanguageModel(d_model=3)\n",
            f"import os\n{TODAY}{MADE}",
        ),
        (
            "from src.models.resnet_bk import LanguageModel\n__all__ = ['LanguageModel']\n" + CALL,
            "from resnet_bk import LanguageModel, MambaKillerConfig, ResNetBK\n__all__ = ['LanguageModel']\n"
            + MADE,
        ),
        (
            (
                "from src.models.resnet_bk import LanguageModel, ResNetBK\n"
                "a = LanguageModel(d_model=3)\nb = ResNetBK(d_model=3)\n"
            ),
            (
                f"{TODAY}a = ResNetBK(MambaKillerConfig(d_model=3))\n"
                f"b = ResNetBK(MambaKillerConfig(d_model=3))\n"
            ),
        ),
    ],
)
def test_import_statements(programs: Any, before: str, after: str) -> None:
    """Names that are used are imported, once; those that are not used any more are not."""
    assert programs.migrate(before) == after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            """\
            from src.models.resnet_bk import (
                LanguageModel,  # the model
            )
            """,
            """\
            from resnet_bk import (
                MambaKillerConfig,
                ResNetBK,  # the model
            )
            """,
        ),
        (
            """\
            from src.models.resnet_bk import (  # all
                ResNetBKBlock,  # a block
                LanguageModel,  # the model
            )
            """,
            """\
            from src.models.resnet_bk import (  # all
                ResNetBKBlock,  # a block
                # the model
            )
            from resnet_bk import MambaKillerConfig, ResNetBK
            """,
        ),
        (
            """\
            from src.models.resnet_bk import (LanguageModel, ResNetBK)
            """,
            """\
            from resnet_bk import (MambaKillerConfig, ResNetBK)
            """,
        ),
        (
            """\
            from src.models.resnet_bk import LanguageModel, \\
                ResNetBKBlock
            """,
            """\
            from src.models.resnet_bk import ResNetBKBlock
            from resnet_bk import MambaKillerConfig, ResNetBK
            """,
        ),
    ],
)
def test_layout_and_comments_of_imports(programs: Any, before: str, after: str) -> None:
    """Parentheses, lines and comments stay where names stay, or others come in their place."""
    text = programs.migrate(dedent(before) + CALL)
    assert text == dedent(after) + MADE


def test_an_import_in_a_function_stays_there(programs: Any) -> None:
    """Names are imported where they were."""
    before = """\
    def build():
        from src.models.resnet_bk import LanguageModel
        return LanguageModel(d_model=3)

    def other():
        from src.models.resnet_bk import LanguageModel as M
        return M(d_model=3)
    """
    after = """\
    def build():
        from resnet_bk import MambaKillerConfig, ResNetBK
        return ResNetBK(MambaKillerConfig(d_model=3))

    def other():
        from resnet_bk import MambaKillerConfig, ResNetBK as M
        return M(MambaKillerConfig(d_model=3))
    """
    assert programs.migrate(dedent(before)) == dedent(after)


def test_an_import_that_may_fail(programs: Any) -> None:
    """Both ways to import become the same, and a name that may be None stays one."""
    before = """\
    try:
        from src.models.resnet_bk import LanguageModel
    except ImportError:
        from models.resnet_bk import LanguageModel
    m = LanguageModel(d_model=3)
    """
    assert programs.migrate(dedent(before)).count(TODAY.strip()) == 2
    before = """\
    try:
        from src.models.resnet_bk import LanguageModel
    except ImportError:
        LanguageModel = None
    if LanguageModel is not None:
        m = LanguageModel(d_model=3)
    """
    after = programs.migrate(dedent(before))
    assert "    from resnet_bk import LanguageModel, MambaKillerConfig, ResNetBK\n" in after
    assert "    m = ResNetBK(MambaKillerConfig(d_model=3))\n" in after


def test_a_one_line_block(programs: Any) -> None:
    """Statements behind a colon keep their line."""
    before = "try: from src.models.resnet_bk import LanguageModel, X\nexcept ImportError: raise\n" + CALL
    assert programs.migrate(before).startswith(
        "try: from src.models.resnet_bk import X; from resnet_bk import MambaKillerConfig, ResNetBK\n"
    )


@pytest.mark.parametrize(
    "taken",
    [
        "class ResNetBK: ...\n",
        "from elsewhere import ResNetBK\n",
        "def f():\n    ResNetBK = 1\n    return ResNetBK\nResNetBK = 2\n",
    ],
)
def test_a_name_that_is_taken(programs: Any, taken: str) -> None:
    """Where `ResNetBK` means something else, the class is imported under another name."""
    after = programs.migrate(f"from src.models.resnet_bk import LanguageModel\n{taken}{CALL}")
    assert after == (
        "from resnet_bk import MambaKillerConfig, ResNetBK as NewResNetBK\n"
        f"{taken}m = NewResNetBK(MambaKillerConfig(d_model=3))\n"
    )


@pytest.mark.parametrize(
    ("line", "missing"),
    [
        (
            "from src.models.resnet_bk import ResNetBKBlock, MoEResNetBKLayer",
            "ResNetBKBlock, MoEResNetBKLayer",
        ),
        ("from src.models.koopman_layer import KoopmanLanguageModel", "KoopmanLanguageModel"),
        ("from src.utils import get_data_loader", "get_data_loader"),
        ("from src.models.bk_core import BKCoreFunction", "BKCoreFunction"),
        (
            "from src.models.mixed_precision_quantization import MixedPrecisionQuantizer",
            "MixedPrecisionQuantizer",
        ),
    ],
)
def test_an_import_without_a_counterpart_is_told(programs: Any, line: str, missing: str) -> None:
    """It stays, and the reader learns which names `resnet_bk` does not have."""
    assert programs.migrate(f"{line}\n") == f"{line}\n"
    (told,) = programs.todos(f"{line}\n")
    assert told.startswith(f"1: resnet_bk has no {missing}, so this import stays")


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("from src.models.memory_optimization import MemoryOptimizer", "MemoryOptimizer"),
        ("from src.benchmarks.flops_counter import FLOPsCounter", "FLOPsCounter"),
        (
            "from src.models.quantized_birman_schwinger import QuantizedBirmanSchwinger",
            "QuantizedBirmanSchwinger",
        ),
        (
            "from src.models.mixed_precision_quantization import MixedPrecisionQuantization",
            "MixedPrecisionQuantization",
        ),
        ("from src.models.onnx_export import export_to_onnx", "export_to_onnx"),
    ],
)
def test_names_of_the_guide_come_from_the_package_of_today(programs: Any, line: str, name: str) -> None:
    """Nothing is left to do."""
    assert programs.migrate(f"{line}\n") == f"from resnet_bk import {name}\n"
    assert programs.todos(f"{line}\n") == []


def test_a_star_import_is_told(programs: Any) -> None:
    """Which names it gives can't be seen."""
    text = "from src.models.resnet_bk import *\nm = LanguageModel(d_model=3)\n"
    assert programs.migrate(text) == text
    assert programs.todos(text) == [
        "1: which names come from src.models.resnet_bk can't be seen: name them in place of *"
    ]


def test_a_module_that_is_used_for_more_stays(programs: Any) -> None:
    """What `resnet_bk` has is imported from it; the module stays for the rest."""
    before = "import src.models.resnet_bk as rb\nm = rb.LanguageModel(d_model=3)\nb = rb.ResNetBKBlock(3)\n"
    assert programs.migrate(before) == (
        f"import src.models.resnet_bk as rb\n{TODAY}{MADE}b = rb.ResNetBKBlock(3)\n"
    )


def test_passing_a_name_on_from_inside_its_package_stays(programs: Any) -> None:
    """A relative import that only passes a name on belongs to the older package itself."""
    text = "from .resnet_bk import LanguageModel\n__all__ = ['LanguageModel']\n"
    assert programs.migrate(text) == text


def test_texts_that_name_a_module_are_told(programs: Any) -> None:
    """Programs that are written out, and modules loaded by name, stay; what they are for can't be seen."""
    text = (
        '"""From src.models.resnet_bk import nothing."""\n'
        "cells = [\n"
        '    "from src.models.resnet_bk import LanguageModel",\n'
        '    "from elsewhere import LanguageModel",\n'
        '    "import src.models.bk_core",\n'
        "]\n"
        'mock.patch("src.models.resnet_bk.LanguageModel", None)\n'
        'importlib.import_module("src.models.elsewhere")\n'
    )
    assert programs.migrate(text) == text
    assert programs.todos(text) == [
        "3: this text names a module of the older package, and stays as it is, and so do those on lines 5, 7"
    ]


def test_one_text_beside_imports_is_told(programs: Any) -> None:
    """The imports around it change all the same."""
    before = f"{LINE}\n{CALL}\n\nname = 'src.models.bk_core'\n"
    assert programs.migrate(before) == f"{TODAY}{MADE}\n\nname = 'src.models.bk_core'\n"
    (told,) = programs.todos(before)
    assert told == "5: this text names a module of the older package, and stays as it is"


def test_a_name_from_nowhere_stays_what_it_is(programs: Any) -> None:
    """Who uses a name that nothing in the program gives may have it from elsewhere: it is not taken."""
    before = f"{LINE}\n{CALL}n = ResNetBK()\n"
    assert programs.migrate(before) == (
        "from resnet_bk import MambaKillerConfig, ResNetBK as NewResNetBK\n"
        "m = NewResNetBK(MambaKillerConfig(d_model=3))\nn = ResNetBK()\n"
    )
