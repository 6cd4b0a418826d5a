"""The public names of modelplug."""

from __future__ import annotations

import pytest

import modelplug


@pytest.mark.parametrize("name", modelplug.__all__)
def test_every_public_name_can_be_imported(name: str) -> None:
    """Each name in `modelplug.__all__` is there, and documented where it is a class or function."""
    value = getattr(modelplug, name)

    assert name.startswith("__") or name == "HOOKSPEC_VERSION" or name == "hookimpl" or value.__doc__


def test_an_unknown_name_is_an_attribute_error() -> None:
    """A name that is not public raises what Python raises for any module."""
    with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
        _ = modelplug.Nonsense
