"""A model that is a llamafile itself: program and weights in one file, nothing else installed."""

from __future__ import annotations

import os
import shlex
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import modelplug
import modelplug_llamafile
from modelplug.backends.model import GenerateParams
from modelplug.backends.types import LoadRequest
from modelplug.errors import BackendError
from modelplug.formats.inspection import inspect

if TYPE_CHECKING:
    from collections.abc import Callable

PROGRAM = Path(__file__).parent / "fake_llamafile" / "program.py"
PROMPT = "ROMEO:\nBut soft, what"
GREEDY = GenerateParams(temperature=0, max_tokens=48)


@pytest.fixture
def llamafile(tmp_path: Path, model_file: Path) -> Path:
    """A portable executable with the demo model in the zip archive at its end."""
    path = tmp_path / "demo.llamafile"
    command = shlex.join([sys.executable, str(PROGRAM), "--fake", "v1:"])
    script = f'MZqFpD=\'\n\'\nFAKE_LLAMAFILE_SELF="$0" exec {command} "$@"\n'
    path.write_text(script)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_STORED) as archive:
        archive.write(model_file, "demo.gguf")
        archive.writestr(".args", "-m\ndemo.gguf\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def _nothing_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, modelplug_home: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.chdir(tmp_path)


@pytest.mark.integration
@pytest.mark.usefixtures("_nothing_installed")
def test_a_llamafile_runs_by_itself(llamafile: Path, oracle: str) -> None:
    """Loaded through the public API, in a worker process, with no llamafile program on the machine."""
    with modelplug.load(llamafile) as model:
        assert model.info.format == "llamafile"
        assert model.effective.backend == "llamafile"
        assert model.effective.engine_version == "0.9.3"
        assert "".join(chunk.text for chunk in model.generate(PROMPT, GREEDY)) == oracle


@pytest.mark.usefixtures("_nothing_installed")
def test_tokens_of_a_model_inside_a_llamafile(llamafile: Path) -> None:
    """Special tokens are read from the model where it lies, within the executable."""
    request = LoadRequest(
        backend="llamafile", path=llamafile, info=inspect(llamafile), context_size=512, threads=2
    )
    model = modelplug_llamafile.modelplug_load_model(request)
    assert model is not None
    with model:
        assert model.detokenize(model.tokenize("But soft")) == "But soft"


@pytest.mark.usefixtures("_nothing_installed")
def test_a_llamafile_that_may_not_be_executed_says_what_to_type(llamafile: Path) -> None:
    """A downloaded llamafile is not executable at first; the error has the command."""
    llamafile.chmod(0o644)
    request = LoadRequest(backend="llamafile", path=llamafile, info=inspect(llamafile))
    with pytest.raises(BackendError, match="no llamafile program") as caught:
        modelplug_llamafile.modelplug_load_model(request)
    assert caught.value.advice == f"chmod +x '{llamafile}'"


def test_a_program_in_the_settings_loads_the_weights_of_another_llamafile(
    llamafile: Path, fake: Callable[..., Path], tmp_path: Path
) -> None:
    """A named program comes before the model's own, and is given the whole file."""
    request = LoadRequest(
        backend="llamafile",
        path=llamafile,
        info=inspect(llamafile),
        settings={"executable": str(fake("modern"))},
        scratch=tmp_path,
    )
    # The engine behind the fake does not read llamafiles as the real program does; it must be asked to.
    with pytest.raises(BackendError) as caught:
        modelplug_llamafile.modelplug_load_model(request)
    assert str(llamafile) in caught.value.stderr_tail
    assert os.access(llamafile, os.X_OK)
