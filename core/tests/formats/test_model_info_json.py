"""`ModelInfo` as JSON and back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from core.tests.formats import format_samples as samples
from hypothesis import given
from hypothesis import strategies as st

from modelplug import formats
from modelplug.formats import LayerSizes, ModelInfo, from_dict, inspect, to_dict

if TYPE_CHECKING:
    from collections.abc import Mapping

JSONABLE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
WHOLE = st.integers(0, 1 << 60)
RECORDS = st.builds(
    ModelInfo,
    path=st.text("abc/", min_size=1).map(Path),
    format=st.sampled_from(["gguf", "ggml", "exotic"]),
    name=st.none() | st.text(),
    parameters=st.none() | WHOLE,
    heads_kv=st.lists(st.integers(0, 99), max_size=5).map(tuple),
    tensor_types=st.dictionaries(st.text(), WHOLE, max_size=3),
    files=st.lists(st.text("xyz", min_size=1).map(Path), max_size=3).map(tuple),
    weights=st.builds(LayerSizes, layers=st.lists(WHOLE, max_size=4).map(tuple), output=WHOLE),
    warnings=st.lists(st.text(), max_size=2).map(tuple),
    metadata=st.dictionaries(st.text(), JSONABLE, max_size=4),
    chat_template=st.booleans(),
)


@given(info=RECORDS)
def test_any_record_survives_json(info: ModelInfo) -> None:
    """A record that travelled as JSON is equal to the original."""
    assert from_dict(json.loads(json.dumps(to_dict(info)))) == info


@pytest.mark.parametrize("name", sorted(samples.single_files().keys() - {"pointer.gguf", "page.gguf"}))
def test_every_format_survives_json(name: str, tmp_path: Path) -> None:
    """What inspection says of any format can be written as strict JSON and read back."""
    path = tmp_path / name
    path.write_bytes(samples.single_files()[name])
    info = inspect(path)
    assert from_dict(json.loads(json.dumps(to_dict(info), allow_nan=False))) == info


@pytest.mark.parametrize(("name", "files"), sorted(samples.directories().items()))
def test_every_directory_survives_json(name: str, files: Mapping[str, bytes], tmp_path: Path) -> None:
    """The same for directories."""
    directory = samples.write_files(tmp_path / name, files)
    path = directory / "tiny-00001-of-00003.gguf" if name == "shards" else directory
    info = inspect(path)
    assert from_dict(json.loads(json.dumps(to_dict(info), allow_nan=False))) == info


def test_numbers_that_json_lacks(tmp_path: Path) -> None:
    """Infinities and NaN in a header are texts in the metadata."""
    entries = [
        ("general.architecture", samples.STRING, "llama"),
        ("a", samples.F32, float("inf")),
        ("b", samples.F64, float("nan")),
        ("c", samples.ARRAY, (samples.F32, [float("-inf"), 1.0])),
    ]
    path = tmp_path / "odd.gguf"
    path.write_bytes(samples.GgufWriter().file(entries))
    metadata = inspect(path).metadata
    assert (metadata["a"], metadata["b"], metadata["c"]["values"]) == ("inf", "nan", ["-inf", 1.0])
    json.dumps(metadata, allow_nan=False)


def test_the_public_names_are_there() -> None:
    """Every name the package lists can be had, and others are refused."""
    assert all(getattr(formats, name) is not None for name in formats.__all__)
    assert set(dir(formats)) == set(formats.__all__)
    with pytest.raises(AttributeError, match="no attribute 'missing'"):
        _ = formats.missing
