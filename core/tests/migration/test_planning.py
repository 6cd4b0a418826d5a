"""Plans: what they say of each file, and that making them writes nothing."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from modelplug.errors import UnknownArtifactError
from modelplug.migration.detection import Wishes
from modelplug.migration.plan import FilePlan, Plan
from modelplug.migration.planning import Planner
from modelplug.migration.steps import Kind

OLD = """\
{
  // how bright
  "brightness": 80, // percent
  "lamp": "desk",
  "colour": "warm",
  "bulb": {"watts": 40, "socket": "E27"},
  "debug": true,
  "note": 1.0e-8
}
"""
NEW = """\
{
  "lamp": "desk",
  "note": 1.0e-8,
"""


def planned(planner: Planner, path: Path, **wishes: object) -> FilePlan:
    """The plan of one file."""
    plan = planner.plan([path], Wishes(**wishes))  # type: ignore[arg-type]
    assert len(plan.files) == 1
    return plan.files[0]


def snapshot(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Every file below a folder, with its content and time of change."""
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A configuration of the oldest version."""
    path = tmp_path / "work/lamp.json"
    path.parent.mkdir()
    path.write_text(OLD)
    return path


def test_planning_writes_nothing(planner: Planner, old: Path, tmp_path: Path) -> None:
    """Not a byte, not a file, not a time of change."""
    before = snapshot(tmp_path)
    assert planned(planner, old).status == "migrate"

    assert snapshot(tmp_path) == before


def test_a_plan_says_what_a_file_is_and_how_it_gets_where(planner: Planner, old: Path) -> None:
    """Family, kind, versions, evidence, and the steps in order."""
    file = planned(planner, old)

    assert (file.family, file.kind, file.source, file.target) == ("lamp", "config", "old", "3.0")
    assert (file.confidence, file.evidence) == ("certain", ("there is no format",))
    assert [str(step) for step in file.steps] == [
        "old -> 2.0: The brightness moves into a section of its own",
        "2.0 -> 3.0: The level counts from 0 to 1",
    ]


def test_the_account_names_every_key_once_and_adds_up(planner: Planner, old: Path) -> None:
    """Kept, mapped, to the extras and dropped together are all keys there were."""
    account = planned(planner, old).account
    fates = {key.key: (key.fate.value, key.target, key.why, key.line) for key in account.keys}

    assert fates == {
        "brightness": ("mapped", "light.level", "counts from 0 to 1", 3),
        "lamp": ("kept", "lamp", "", 4),
        "colour": ("mapped", "light.color", "", 5),
        "bulb.watts": ("extras", "extras.bulb.watts", "lamps have no bulbs any more", 6),
        "bulb.socket": ("extras", "extras.bulb.socket", "lamps have no bulbs any more", 6),
        "debug": ("dropped", "", "it never did anything", 7),
        "note": ("kept", "note", "", 8),
    }
    assert sum(account.counts().values()) == len(account.keys) == 7
    assert account.added == ("format",)


def test_what_no_step_touches_keeps_its_bytes(planner: Planner, old: Path) -> None:
    """Comments and number formats are still there, and the diff shows what changes."""
    file = planned(planner, old)
    (change,) = file.changes
    assert change.after is not None
    text = change.after.decode()

    assert '  "note": 1.0e-8' in text
    assert "// how bright" in text
    assert "// percent" in text
    assert '{"watts": 40, "socket": "E27"}' in text
    assert change.before == hashlib.sha256(OLD.encode()).hexdigest()
    assert '-  "brightness": 80, // percent\n' in change.diff
    assert f"--- {file.path}\n" in change.diff


def test_what_is_up_to_date_needs_nothing(planner: Planner, old: Path) -> None:
    """A second plan after the first one's result has nothing to do."""
    (change,) = planned(planner, old).changes
    assert change.after is not None
    old.write_bytes(change.after)
    file = planned(planner, old)

    assert (file.status, file.changes, file.steps) == ("current", (), ())


def test_downgrading_gives_the_bytes_back(planner: Planner, old: Path) -> None:
    """Up to version 2 and back is the same text, but for the key that was dropped for good."""
    (change,) = planned(planner, old, target="2").changes
    assert change.after is not None
    old.write_bytes(change.after)
    (back,) = planned(planner, old, target="old").changes
    assert back.after is not None

    restored = json.loads("\n".join(line.partition("//")[0] for line in back.after.decode().splitlines()))
    assert restored == {
        "brightness": 80,
        "lamp": "desk",
        "colour": "warm",
        "bulb": {"watts": 40, "socket": "E27"},
        "note": 1e-8,
    }


def test_an_error_of_a_step_refuses_the_file_and_names_the_line(planner: Planner, old: Path) -> None:
    """Other files are planned all the same."""
    old.write_text('{\n  "lamp": 1,\n  "brightness": "bright"\n}\n')
    good = old.with_name("good.json")
    good.write_text(OLD)
    plan = planner.plan([old.parent])

    assert {file.path.name: file.status for file in plan.files} == {
        "lamp.json": "refused",
        "good.json": "migrate",
    }
    (refused,) = plan.with_status("refused")
    assert refused.error is not None
    assert "line 3: the level is no number" in refused.error["why"]
    assert refused.changes == ()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"lamp": 1, "format": 9}', "newest known is 3.0"),
        ('{"lamp": 1, "format": 0}', "oldest with a way on is 1.0"),
    ],
)
def test_versions_out_of_range_are_refused(planner: Planner, old: Path, text: str, why: str) -> None:
    """Neither guessed at nor downgraded."""
    old.write_text(text)
    file = planned(planner, old)

    assert file.status == "refused"
    assert file.error is not None
    assert why in file.error["why"]


def test_files_of_no_family_are_listed_only_where_they_were_named(planner: Planner, old: Path) -> None:
    """In a folder there may be thousands of them."""
    other = old.with_name("other.json")
    other.write_text('{"a": 1}')

    assert planned(planner, other).status == "unknown"
    assert [file.path.name for file in planner.plan([old.parent]).files] == ["lamp.json"]


@pytest.mark.parametrize("data", [b"", b"{", b'{"lamp": ', b"\xff\xfe", b'{"lamp": "\xff"}', b"[" * 5000])
def test_files_that_cannot_be_understood_are_no_configurations(
    planner: Planner, old: Path, data: bytes
) -> None:
    """Nothing is known of them, and nothing fails."""
    old.write_bytes(data)

    assert planned(planner, old).status == "unknown"


def test_a_file_that_cannot_be_understood_is_refused_where_the_user_says_what_it_is(
    planner: Planner, old: Path
) -> None:
    """The place of the fault is named."""
    old.write_text('{"lamp": 1,\n  "brightness" 80}')
    file = planned(planner, old, family="lamp", kind=Kind.CONFIG, source="1")

    assert file.status == "refused"
    assert file.error is not None
    assert "line 2" in file.error["why"]


def test_links_and_second_names_are_one_file(planner: Planner, old: Path) -> None:
    """A file is migrated once, and the other names are reported."""
    link = old.with_name("link.json")
    link.symlink_to(old)
    hard = old.with_name("hard.json")
    os.link(old, hard)
    plan = planner.plan([old.parent, old, link])

    assert len(plan.files) == 1
    real = {os.path.realpath(old), str(hard)}
    assert str(plan.files[0].path) in real
    assert {Path(alias).name for alias in plan.aliases} <= {"link.json", "hard.json", "lamp.json"}
    assert len(plan.aliases) >= 2


def test_backups_and_build_folders_are_never_sources(planner: Planner, old: Path, tmp_path: Path) -> None:
    """What the engine itself wrote, and what programs put into folders of their own, is passed over."""
    for folder in ("home/migrations/x/files", "work/.git", "work/node_modules/a", "work/.venv"):
        path = tmp_path / folder / "lamp.json"
        path.parent.mkdir(parents=True)
        path.write_text(OLD)

    assert [file.path for file in planner.plan([tmp_path]).files] == [old.resolve()]


def test_a_missing_path_is_an_error(planner: Planner, tmp_path: Path) -> None:
    """It is probably misspelt."""
    with pytest.raises(UnknownArtifactError, match="there is no"):
        planner.plan([tmp_path / "nothing.json"])


@pytest.mark.parametrize("wishes", [{"target": "7"}, {"source": "7"}])
def test_an_unknown_version_is_refused_with_those_there_are(
    planner: Planner, old: Path, wishes: dict[str, str]
) -> None:
    """Both for the one there is and the one that is wanted."""
    file = planned(planner, old, **wishes)

    assert file.status == "refused"
    assert file.error is not None
    assert "old, 2.0, 3.0" in file.error["why"]


def test_what_the_user_says_goes_before_what_is_detected(planner: Planner, old: Path) -> None:
    """A file without any evidence can be migrated as what it is said to be."""
    old.write_text('{"brightness": 50}')
    file = planned(planner, old, family="lamp", kind=Kind.CONFIG, source="old", target="2")

    assert file.evidence == ("you said so",)
    assert file.error is not None, "without its key nobody would recognise the result"
    assert "not recognised" in file.error["what"]


def test_a_saved_plan_comes_back_whole(planner: Planner, old: Path) -> None:
    """Through JSON and back it is equal, with every byte of the new content."""
    plan = planner.plan([old])
    again = Plan.from_dict(json.loads(json.dumps(plan.to_dict())))

    assert again == plan


@pytest.mark.parametrize("damage", ["after", "format", "missing"])
def test_a_damaged_plan_is_refused(planner: Planner, old: Path, damage: str) -> None:
    """Content that is not what its hash says, another format, or a part that is gone."""
    data = json.loads(json.dumps(planner.plan([old]).to_dict()))
    if damage == "after":
        data["files"][0]["changes"][0]["after"] = "e30="
    elif damage == "format":
        data["plan"] = 99
    else:
        del data["files"][0]["account"]
    with pytest.raises(ValueError, match=r"SHA-256|format 99|damaged"):
        Plan.from_dict(data)


def test_a_path_with_dots_is_no_second_name(
    planner: Planner, old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From whatever folder it is given."""
    (old.parent / "sub").mkdir()
    monkeypatch.chdir(old.parent / "sub")
    plan = planner.plan([Path("..") / old.name])

    assert [file.path for file in plan.files] == [Path(os.path.realpath(old))]
    assert plan.aliases == {}
