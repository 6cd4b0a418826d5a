"""What `torch.save` wrote is read as data, byte for byte as torch reads it, and nothing is executed."""

from __future__ import annotations

import argparse
import collections
import datetime
import enum
import pickle
import random
import sys
import types
import zipfile
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies

from modelplug.errors import ModelFileError, TruncatedModelError
from modelplug_migrators.resnet_bk.checkpoints.opening import open_old
from modelplug_migrators.resnet_bk.checkpoints.reading import stored
from modelplug_migrators.resnet_bk.checkpoints.reading.archives import open_archive
from modelplug_migrators.resnet_bk.checkpoints.reading.machine import PickleError, PickleMachine
from modelplug_migrators.resnet_bk.checkpoints.reading.plain import NotDataError, Ref, plain_value
from modelplug_migrators.resnet_bk.checkpoints.reading.records import Device, Global, Scalar, Size

torch = pytest.importorskip("torch")
numpy = pytest.importorskip("numpy")

DTYPES = (
    "float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool",
    "complex64", "complex128",
)  # fmt: skip
FORMS = [(True, 2), (True, 4), (True, 5), (False, 2), (False, 4)]


def saved(folder: Path, value: Any, *, zipped: bool = True, protocol: int = 2) -> Path:
    """A file with a value."""
    path = folder / "saved.pt"
    torch.save(value, path, _use_new_zipfile_serialization=zipped, pickle_protocol=protocol)
    return path


def read_back(path: Path) -> Any:
    """What a file holds, as plain values."""
    archive = open_archive(path)
    assert archive.calls == ()
    return plain_value(archive, archive.root)[0]


def raw(tensor: Any) -> bytes:
    """The values of a tensor of torch's."""
    plain = tensor.detach().clone(memory_format=torch.contiguous_format).reshape(-1)
    return bytes(plain.view(torch.uint8).numpy().tobytes()) if plain.numel() else b""


@strategies.composite
def tensors(draw: Any) -> Any:
    """Tensors of all types, many of them views of others."""
    shape = draw(strategies.lists(strategies.integers(0, 5), max_size=4))
    dtype = getattr(torch, draw(strategies.sampled_from(DTYPES)))
    size = draw(strategies.integers(0, 2**31))
    base = torch.randint(
        0, 256, (*shape, 16), generator=torch.Generator().manual_seed(size), dtype=torch.uint8
    )
    tensor = (base[..., 0] > 127) if dtype is torch.bool else base.view(dtype)[..., 0]
    for _ in range(draw(strategies.integers(0, 3))):
        change = draw(strategies.sampled_from(["permute", "slice", "expand", "clone"]))
        if change == "permute":
            tensor = tensor.permute(draw(strategies.permutations(range(tensor.dim()))))
        elif change == "slice" and tensor.dim():
            tensor = tensor[draw(strategies.integers(0, 2)) :: draw(strategies.integers(1, 3))]
        elif change == "expand":
            tensor = tensor.unsqueeze(0).expand(draw(strategies.integers(1, 3)), *tensor.shape)
        else:
            tensor = tensor.clone()
    return tensor


@hypothesis.given(tensors(), strategies.sampled_from(FORMS))
@hypothesis.settings(max_examples=150, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])
def test_every_tensor_is_read_as_torch_reads_it(tmp_path: Path, tensor: Any, form: tuple[bool, int]) -> None:
    """Whatever its type, shape and strides, in both forms of file and every protocol."""
    ref = read_back(saved(tmp_path, tensor, zipped=form[0], protocol=form[1]))

    assert isinstance(ref, Ref)
    assert ref.tensor.shape == tuple(tensor.shape)
    assert b"".join(ref.tensor.chunks()) == raw(tensor)
    assert ref.tensor.size == len(raw(tensor))


def test_large_views_come_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Contiguous or not, no piece is much larger than a megabyte."""
    monkeypatch.setattr(stored, "CHUNK", 1000)
    tensor = torch.arange(10_000, dtype=torch.int32).reshape(100, 100)
    found = read_back(saved(tmp_path, {"plain": tensor, "turned": tensor.t()}))
    for name, wanted in (("plain", tensor), ("turned", tensor.t())):
        chunks = list(found[name].tensor.chunks())
        assert b"".join(chunks) == raw(wanted)
        assert len(chunks) > 10
        assert max(map(len, chunks)) <= 1400


@pytest.mark.parametrize(("zipped", "protocol"), FORMS)
def test_values_of_every_kind(tmp_path: Path, zipped: bool, protocol: int) -> None:
    """Numbers, containers, arrays and scalars of NumPy's, and torch's small classes."""
    value = {
        "numbers": (1, -(2**70), 2.5, 1 + 2j, True, None), "bytes": b"\x00\xff", "text": "ä\udc80",
        "set": {1, 2}, "frozen": frozenset({"a"}), "counter": collections.Counter("aab"), 3: [[]],
        "ordered": collections.OrderedDict(b=1, a=2), "default": collections.defaultdict(int, {1: 2}),
        "deque": collections.deque([1, 2]), "path": Path("/a/b"), "size": torch.Size([2, 3]),
        "device": torch.device("cuda", 1), "dtype": torch.bfloat16, "scalar": numpy.float32(1.5),
        "array": numpy.arange(6.0).reshape(2, 3),
        "turned": numpy.asfortranarray(numpy.arange(6).reshape(2, 3)),
        "moment": datetime.datetime(2025, 11, 26, 18, 40, 1, 250),  # noqa: DTZ001  as programs write it
        "arguments": argparse.Namespace(lr=0.1), "parameter": torch.nn.Parameter(torch.ones(2)),
    }  # fmt: skip
    found = read_back(saved(tmp_path, value, zipped=zipped, protocol=protocol))
    array, turned, parameter = found.pop("array"), found.pop("turned"), found.pop("parameter")
    scalar = found.pop("scalar")

    assert found == {
        **{name: each for name, each in value.items() if name in found},
        "default": {1: 2}, "deque": [1, 2], "path": "/a/b", "size": Size((2, 3)), "device": Device("cuda:1"),
        "dtype": Global("torch.bfloat16"), "arguments": {"lr": 0.1}, "moment": "2025-11-26T18:40:01.000250",
    }  # fmt: skip
    assert type(found["ordered"]) is collections.OrderedDict
    assert isinstance(scalar, Scalar)
    assert (scalar.dtype.text, scalar.data) == ("<f4", numpy.float32(1.5).tobytes())
    assert (array.is_array, array.tensor.dtype, array.tensor.data) == (True, "F64", value["array"].tobytes())
    assert turned.tensor.data == numpy.arange(6).tobytes()
    assert raw(value["parameter"]) == b"".join(parameter.tensor.chunks())


@pytest.mark.parametrize(("zipped", "protocol"), FORMS)
def test_shared_memory_and_shared_objects(tmp_path: Path, zipped: bool, protocol: int) -> None:
    """Two names of one tensor, and views of one memory."""
    base = torch.arange(10)
    found = read_back(saved(tmp_path, [base, base, base[3:]], zipped=zipped, protocol=protocol))

    assert [b"".join(ref.tensor.chunks()) for ref in found] == [raw(base), raw(base), raw(base[3:])]
    assert [ref.key for ref in found] == ["0", "1", "2"]


def test_states_of_random_number_generators(tmp_path: Path) -> None:
    """Python's tuples and NumPy's arrays."""
    value = {"python": random.getstate(), "numpy": numpy.random.get_state()}
    found = read_back(saved(tmp_path, value))

    assert found["python"] == value["python"]
    assert found["numpy"][1].tensor.data == value["numpy"][1].tobytes()


# Foreign classes ------------------------------------------------------------------------------------------


@pytest.fixture
def foreign() -> Any:
    """A module that is gone when a file is read, with classes of several kinds."""
    module = types.ModuleType("src_of_old")
    text = """
import enum, torch

class Config:
    def __init__(self):
        self.d_model, self.inner = 8, Slots()

class Slots:
    __slots__ = ("a", "b")
    def __init__(self):
        self.a, self.b = 1, torch.ones(2)

class Mode(enum.Enum):
    FAST = "fast"

class Table(dict):
    pass

class Odd:
    def __reduce__(self):
        return (Odd, (1, 2))

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.lin = torch.nn.Linear(2, 2)
        self.register_buffer("kept", torch.zeros(1))
        self.register_buffer("passing", torch.zeros(1), persistent=False)

def function():
    pass
"""
    sys.modules["src_of_old"] = module
    exec(text, module.__dict__)
    yield module
    sys.modules.pop("src_of_old", None)


def gone() -> None:
    """Take the module away, so that nothing of it can be imported."""
    sys.modules.pop("src_of_old")


def test_objects_of_foreign_classes_are_their_fields(tmp_path: Path, foreign: Any) -> None:
    """Attributes, slots, the value of an enumeration, the entries of a dict; their places are told."""
    path = saved(
        tmp_path, {"config": foreign.Config(), "mode": foreign.Mode.FAST, "table": foreign.Table(x=1)}
    )
    gone()
    archive = open_archive(path)
    found, _, classes = plain_value(archive, archive.root)

    assert found["config"]["d_model"] == 8
    assert found["config"]["inner"]["a"] == 1
    assert isinstance(found["config"]["inner"]["b"], Ref)
    assert (found["mode"], found["table"]) == ("fast", {"x": 1})
    assert classes == {
        "config": "src_of_old.Config",
        "config.inner": "src_of_old.Slots",
        "mode": "src_of_old.Mode",
        "table": "src_of_old.Table",
    }


def test_an_object_that_does_not_say_its_fields_is_refused(tmp_path: Path, foreign: Any) -> None:
    """By the name of its class, with its place."""
    path = saved(tmp_path, {"odd": [foreign.Odd()]})
    gone()
    archive = open_archive(path)
    with pytest.raises(NotDataError) as caught:
        plain_value(archive, archive.root)

    assert (
        caught.value.why
        == "odd.0: it is an object of the class src_of_old.Odd, which does not say its fields"
    )


def test_a_module_that_was_pickled_as_a_whole(workshop: Any, tmp_path: Path, foreign: Any) -> None:
    """Its tensors are those of its state dict."""
    net = foreign.Net()
    state = {
        name: torch.frombuffer(bytearray(tensor.data), dtype=torch.float32).reshape(tensor.shape)
        for name, tensor in workshop.state().items()
        if tensor.dtype == "F32"
    }
    path = saved(tmp_path, net)
    gone()
    from modelplug_migrators.resnet_bk.checkpoints.reading.modules import is_module, state_dict_of

    root = open_archive(path).root
    assert is_module(root)
    assert list(state_dict_of(root)) == list(net.state_dict())
    assert "passing" not in state_dict_of(root)
    assert len(open_old(saved(tmp_path, {"model_state_dict": state})).model) == len(state)


class Bomb:
    """Does what it is told when it is unpickled."""

    def __init__(self, *call: Any) -> None:
        self.call = call

    def __reduce__(self) -> Any:
        return self.call[0], self.call[1:]


@pytest.mark.parametrize(
    ("place", "zipped"),
    [("entry", True), ("entry", False), ("config", True), ("config", False), ("dropped", True)],
)
def test_nothing_is_ever_called(workshop: Any, tmp_path: Path, place: str, zipped: bool) -> None:
    """A file of ours that would run something is recognised, refused by that name, and runs nothing."""
    import os

    marker = tmp_path / "marker"
    state = {"blocks.0.bk_layer.v_proj.weight": torch.ones(1, 8)}
    bomb = Bomb(os.mkdir, str(marker))
    value: dict[str, Any] = {"model_state_dict": state}
    if place != "dropped":
        value["config" if place == "config" else "x"] = bomb
    path = workshop.folder / "bomb.pt"
    torch.save(value, path, _use_new_zipfile_serialization=zipped)
    if place == "dropped":
        _insert_dropped_call(path, bomb)
    (found,) = workshop.detections(path)
    why = workshop.why_not(path)

    assert found.version.major == 0
    assert "loading it would call posix.mkdir" in why or "nt.mkdir" in why
    assert not marker.exists()
    assert list(workshop.folder.iterdir()) == [path]


def _insert_dropped_call(path: Path, bomb: Bomb) -> None:
    """Let the pickle in a file make a call first, and throw its result away."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = next(name for name in members if name.endswith("data.pkl"))
    call = pickle.dumps(bomb, 2)[2:-1]
    members[name] = members[name][:2] + call + b"0" + members[name][2:]
    with zipfile.ZipFile(path, "w") as archive:
        for each, data in members.items():
            archive.writestr(each, data)


@pytest.mark.parametrize(
    "name",
    [
        "os.system",
        "builtins.eval",
        "builtins.getattr",
        "torch.load",
        "numpy.load",
        "subprocess.Popen",
        "a.function",
    ],
)
def test_calls_that_are_not_known_are_noted(name: str) -> None:
    """Functions of anybody, and classes of the standard library, torch and NumPy."""
    module, _, function = name.rpartition(".")
    machine = PickleMachine(lambda identity: identity)
    machine.load(f"c{module}\n{function}\n(S'x'\ntR.".encode())

    assert list(machine.calls) == [name]


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\x80\x02", b"\x80\x02]", b"\x80\x02}(", b"\x80\x02(.", b"\x80\x02h\x07.",
        b"\x80\x02K\x01(K\x02u.",
        b"\x80\x02K\x01K\x02R.", b"\x80\x02]K\x01K\x02s.", b"\x80\x02X\xff\xff\xff\x7fx.", b"\x80\x05\x97.",
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n)R.", b"\x82\x01.", b"garbage",
    ],
)  # fmt: skip
def test_damaged_pickles_are_errors(data: bytes) -> None:
    """Of one kind, whatever is wrong."""
    with pytest.raises(PickleError):
        PickleMachine(lambda identity: identity).load(data)


@hypothesis.given(strategies.binary(max_size=60))
@hypothesis.settings(max_examples=300)
def test_any_bytes_are_a_value_or_an_error(data: bytes) -> None:
    """Nothing else happens, and the same bytes give the same."""

    def load() -> str:
        try:
            return f"value {PickleMachine(lambda identity: identity).load(data)!r}"
        except PickleError as error:
            return f"error {error}"

    assert load().partition(" at 0x")[0] == load().partition(" at 0x")[0]


def test_a_memo_of_any_size_takes_no_memory() -> None:
    """A key that C would make room for is only a key here."""
    assert PickleMachine(lambda identity: identity).load(b"\x80\x02K\x01r\xff\xff\xff\xff.") == 1


@pytest.mark.parametrize("zipped", [True, False])
def test_files_that_are_cut_off(tmp_path: Path, zipped: bool) -> None:
    """At any place, they are said to be cut off or damaged."""
    path = saved(tmp_path, {"a": torch.arange(1000)}, zipped=zipped)
    data = path.read_bytes()
    for length in (len(data) // 8, len(data) // 2, len(data) - 30):
        path.write_bytes(data[:length])
        with pytest.raises((TruncatedModelError, ModelFileError)):
            read_back(path)


def test_a_damaged_checkpoint_is_named_as_that(workshop: Any) -> None:
    """Who names it is told why it is not migrated; below a folder it is passed over."""
    path = workshop.save(workshop.state())
    path.write_bytes(path.read_bytes()[:3000])

    assert "is a checkpoint that can't be read" in workshop.why_not(path)
    assert workshop.migrator.plan([workshop.folder]).files == ()


def test_claims_that_are_not_true(tmp_path: Path) -> None:
    """A tensor beyond its memory, one far larger than it, memory that is not there, endless nesting."""
    good = torch.arange(10)
    path = saved(tmp_path, {"a": good})
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = next(name for name in members if name.endswith("data.pkl"))
    (data,) = [each for each in members if each.endswith("data/0")]

    def rewritten(pickled: bytes, *, without: str = "") -> Path:
        with zipfile.ZipFile(path, "w") as archive:
            for each, content in members.items():
                if each != without:
                    archive.writestr(each, pickled if each == name else content)
        return path

    wider = members[name].replace(b"K\x0a\x85", b"K\x0b\x85")
    assert wider != members[name]
    for file, text in (
        (lambda: rewritten(wider), "reaches beyond the memory"),
        (lambda: rewritten(members[name], without=data), "are not in the file"),
        (lambda: saved(tmp_path, {"a": torch.zeros(1).expand(1 << 20, 1 << 12)}), "claims 17179869184 bytes"),
    ):
        with pytest.raises(NotDataError) as caught:
            read_back(file())
        assert text in caught.value.why
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(NotDataError, match="no data"):
        read_back(saved(tmp_path, endless))


class Colour(enum.Enum):
    """Somebody's own, in a module that is there."""

    RED = 1


def test_classes_that_could_be_imported_are_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that names a module which is installed does not import it."""
    path = saved(tmp_path, {"colour": Colour.RED})
    assert read_back(path) == {"colour": 1}
    module = types.ModuleType("never_imported")
    monkeypatch.setitem(sys.modules, "never_imported", module)
    machine = PickleMachine(lambda identity: identity)
    machine.load(b"\x80\x02cnever_imported\nThing\n)\x81.")

    assert list(machine.classes) == ["never_imported.Thing"]
