"""What a program is for is told by what it imports and how it uses it."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from modelplug.migration.candidates import Candidate
from modelplug.migration.steps import Confidence, Kind
from modelplug_migrators.resnet_bk.source import detect

if TYPE_CHECKING:
    from pathlib import Path

    from modelplug.migration.steps import Detection

MODEL = "from src.models.resnet_bk import LanguageModel\n"


def seen(folder: Path, text: str | bytes, name: str = "anything.py") -> Detection | None:
    """What a file with this content is."""
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    found = list(detect(Candidate(path)))
    assert len(found) <= 1
    return found[0] if found else None


@pytest.mark.parametrize(
    ("text", "version"),
    [
        (f"{MODEL}m = LanguageModel(vocab_size=3)", "0.4"),
        (f"{MODEL}m = LanguageModel(vocab_size=3, semiseparable_rank=2)", "0.4"),
        (f"{MODEL}m = LanguageModel(use_semiseparable=True)", "0.5"),
        ("from src.models.memory_optimization import MemoryOptimizer", "0.5"),
        (
            (
                "from src.benchmarks.streaming_evaluator import StreamingEvaluator\n"
                "StreamingEvaluator(m).evaluate(d)"
            ),
            "0.6",
        ),
        (
            (
                "from src.benchmarks.streaming_evaluator import StreamingEvaluator\n"
                "e = StreamingEvaluator(m)\ne.evaluate_streaming(d)"
            ),
            "0.5",
        ),
        ("from src.models.quantized_birman_schwinger import QuantizedBirmanSchwinger", "0.7"),
        ("from src.benchmarks.flops_counter import FLOPsCounter\nFLOPsCounter(m, batch_size=3)", "0.7"),
        (f"{MODEL}m = LanguageModel(use_act=True)", "0.8"),
        ("from src.models.onnx_export import export_to_onnx\nexport_to_onnx(m, p, batch_size=1)", "0.8"),
        (
            "from src.models.onnx_export import export_to_onnx\nexport_to_onnx(m, p, input_shape=(1, 2))",
            "0.9",
        ),
        ("from src.models.resnet_bk import ResNetBK\nm = ResNetBK(vocab_size=3)", "0.9"),
        (
            (
                f"{MODEL}from src.models.onnx_export import export_to_onnx\n"
                f"m = LanguageModel(semiseparable_rank=2)"
            ),
            "0.4",
        ),
        (
            "from resnet_bk import MambaKillerConfig, ResNetBK\nm = ResNetBK(MambaKillerConfig(d_model=3))",
            "1.0",
        ),
        ("import resnet_bk", "1.0"),
        ("from resnet_bk import LanguageModel\nm = LanguageModel(**c)", "0.9"),
        ("from resnet_bk import ResNetBK\nm = ResNetBK(d_model=3)", "0.9"),
        ("from resnet_bk import MambaKillerConfig\nc = MambaKillerConfig(manual_seed=3)", "0.9"),
        ("import src.models.resnet_bk as rb\nm = rb.LanguageModel(use_act=True)", "0.8"),
    ],
)
def test_the_version_of_a_program(tmp_path: Path, text: str, version: str) -> None:
    """The oldest way of doing something counts, else the newest thing that is used."""
    found = seen(tmp_path, text)
    assert found is not None
    assert (found.family, found.kind, str(found.version)) == ("resnet-bk", Kind.SOURCE, version)


@pytest.mark.parametrize(
    "text",
    [
        "import torch\ntorch.manual_seed(3)\n",
        "from flair.models import LanguageModel\n",
        "from src.models import Net\n",
        "from models import LanguageModel\n",
        "from src.data import load\n",
        "def LanguageModel(): ...\n",
        "import_module('src.models.other')\n",
        "# from src.models.resnet_bk import LanguageModel\n",
        '"""Example::\n\n    from src.models.resnet_bk import LanguageModel\n"""\n',
        "",
    ],
)
def test_other_programs_are_none_of_ours(tmp_path: Path, text: str) -> None:
    """Names alone prove nothing, and comments and docstrings are no imports."""
    assert seen(tmp_path, text) is None


@pytest.mark.parametrize(
    ("text", "confidence", "evidence"),
    [
        (MODEL, Confidence.CERTAIN, "line 1 imports LanguageModel from src.models.resnet_bk"),
        (
            "from src.models import LanguageModel\n",
            Confidence.LIKELY,
            "line 1 imports LanguageModel from src.models",
        ),
        (
            f"code = {MODEL!r}\n",
            Confidence.POSSIBLE,
            "line 1: a text that names a module",
        ),
        (
            "import_module('src.models.resnet_bk')\n",
            Confidence.POSSIBLE,
            "line 1: a text that names a module",
        ),
        (
            f"{MODEL}m = (\n",
            Confidence.LIKELY,
            "it mentions modules of ResNet-BK, and can't be read as it is",
        ),
    ],
)
def test_how_sure_it_is_and_why(tmp_path: Path, text: str, confidence: Confidence, evidence: str) -> None:
    """The evidence is what was seen, with the line."""
    found = seen(tmp_path, text)
    assert found is not None
    assert (found.confidence, found.evidence) == (confidence, (evidence,))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-8-sig", "latin-1"])
def test_other_encodings_are_seen(tmp_path: Path, encoding: str) -> None:
    """A program that can't be changed for its encoding is found, so that it can be told."""
    assert seen(tmp_path, f"{MODEL}x = 'ä'\nm = LanguageModel(d_model=3)\n".encode(encoding)) is not None


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("n.ipynb", '{"cells": [{"cell_type": "code", "source": ["import src.models.resnet_bk"]}]}', True),
        (
            "n.ipynb",
            '{"cells": [{"cell_type": "markdown", "source": ["import src.models.resnet_bk"]}]}',
            False,
        ),
        ("n.ipynb", '{"cells": [{"source": "import src.models.resnet_bk', True),
        ("a.md", f"```python\n{MODEL}```\n", True),
        ("a.md", f"```bash\n{MODEL}```\n{MODEL}", False),
        ("a.md", f"```python\n{MODEL}x = (\n```\n", True),
        ("a.txt", MODEL, False),
        ("a.yaml", MODEL, False),
    ],
)
def test_kinds_of_files(tmp_path: Path, name: str, text: str, *, expected: bool) -> None:
    """Code cells and Python blocks count, and nothing else in such files."""
    assert (seen(tmp_path, text, name) is not None) is expected


def test_looking_loads_no_libcst() -> None:
    """To see what a file is, Python's own parser is enough."""
    code = (
        "import sys, pathlib\nfrom modelplug.migration.candidates import Candidate\n"
        "from modelplug_migrators.resnet_bk import source\n"
        "list(source.detect(Candidate(pathlib.Path(sys.argv[1]))))\n"
        "assert 'libcst' not in sys.modules and 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code, __file__], check=True)
