"""The script that trains the demo model, run for a few steps on invented text."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from modelplug.testing.demo_gguf import read_demo_gguf, write_demo_gguf

SCRIPT = Path(__file__).parents[3] / "tools" / "train_demo_model.py"

pytest.importorskip("torch")
pytest.importorskip("sentencepiece")
pytest.importorskip("gguf")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not SCRIPT.exists(), reason="the script is part of the repository, not of the package"
    ),
]


@pytest.fixture(scope="module")
def play(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A play of invented words, long enough for a vocabulary of 1024 pieces."""
    chance = random.Random(1)
    syllables = [first + second for first in "bcdfghklmnprstvw" for second in "aeiou"]
    words = ["".join(chance.choices(syllables, k=chance.randint(1, 4))) for _ in range(800)]
    speakers = [word.upper() + ":" for word in words[:20]]
    speeches = []
    for _ in range(700):
        lines = [" ".join(chance.choices(words, k=7)) + "." for _ in range(chance.randint(1, 3))]
        speeches.append("\n".join([chance.choice(speakers), *lines]))
    path = tmp_path_factory.mktemp("play") / "play.txt"
    path.write_text("\n\n".join(speeches) + "\n", encoding="utf-8")
    return path


@pytest.fixture(autouse=True)
def _no_compiler_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep torch's compiler from leaving its cache among the temporary files."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "compiler"))


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the script as a user does."""
    return subprocess.run(
        [sys.executable, str(SCRIPT), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
        # Threads that wait by spinning make each other wait when the machine is busy.
        env={**os.environ, "OMP_WAIT_POLICY": "passive"},
    )


def test_every_format_holds_the_same_model(play: Path, tmp_path: Path) -> None:
    """The script prints losses and writes all formats, and each GGUF is what the Q8_0 one converts to."""
    done = run("--text", play, "--out", tmp_path / "out", "--steps", 3)
    assert done.returncode == 0, done.stderr
    assert "training loss" in done.stdout
    assert "held-out loss of the rounded weights" in done.stdout
    made = tmp_path / "out"
    assert sorted(path.name for path in made.iterdir()) == [
        "demo-f16.gguf",
        "demo-f32.gguf",
        "demo-hf",
        "demo-q4_0.gguf",
        "demo-q8_0.gguf",
    ]
    source = read_demo_gguf(made / "demo-q8_0.gguf")
    for precision in ("f32", "f16", "q8_0", "q4_0"):
        converted = tmp_path / precision
        write_demo_gguf(source, converted, precision)
        assert converted.read_bytes() == (made / f"demo-{precision}.gguf").read_bytes()
    assert (made / "demo-hf" / "model.safetensors").exists()


def test_the_seed_decides_the_result(play: Path, tmp_path: Path) -> None:
    """Two runs with one seed write the same bytes, another seed writes others."""
    made = []
    for number, seed in enumerate((3, 3, 4)):
        out = tmp_path / str(number)
        done = run("--text", play, "--out", out, "--steps", 2, "--seed", seed, "--formats", "q8_0")
        assert done.returncode == 0, done.stderr
        assert [path.name for path in out.iterdir()] == ["demo-q8_0.gguf"]
        made.append((out / "demo-q8_0.gguf").read_bytes())
    assert made[0] == made[1]
    assert made[0] != made[2]


def test_an_unknown_format_is_a_usage_error(play: Path, tmp_path: Path) -> None:
    """A format that can't be written is refused before any training, with the list of those that can."""
    done = run("--text", play, "--out", tmp_path, "--formats", "q8_0,q5_1")
    assert done.returncode == 2
    assert "'q5_1' is not one of f32, f16, q8_0, q4_0, hf" in done.stderr
