"""Broken files are reported with their lines and left as they are; nothing in them is executed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from modelplug_migrators.resnet_bk.configs.damage import is_garbled

if TYPE_CHECKING:
    from pathlib import Path

GOOD = "d_model: 64\nn_layers: 2\nn_seq: 128\nuse_mourre: true\nuse_lap: true\n"
# What the Japanese words for "do not use" look like after they were read in the wrong encoding.
GARBLED = "使わない".encode().decode("cp932", errors="replace")
LATIN = "使わない".encode().decode("latin-1")


def refusal(plan: Any) -> str:
    """Why a file is refused; that nothing would be written is checked too."""
    assert plan.status == "refused"
    assert plan.changes == ()
    return f"{plan.error['what']}: {plan.error['why']}"


@pytest.mark.parametrize(
    "tag",
    [
        "!!python/object/apply:os.system",
        "!!python/name:builtins.print",
        "!<tag:yaml.org,2002:python/tuple>",
        "&a !!python/object/new:subprocess.Popen",
    ],
)
def test_tags_that_name_code_are_refused(configs: Any, tmp_path: Path, tag: str) -> None:
    """The tag and its line are named, and the command it holds is not run."""
    made = tmp_path / "made"
    text = f"{GOOD}learning_rate: {tag} ['touch {made}']\n"
    reason = refusal(configs.plan(text))
    assert "line 6" in reason
    assert "python/" in reason
    assert not made.exists()


@pytest.mark.parametrize(
    "line",
    ["# a comment about !!python/name:os.system", "note: 'no !!python/tag here'", "a: b # !!python/tuple"],
)
def test_words_that_look_like_tags_are_none(configs: Any, line: str) -> None:
    """Comments and texts may speak of tags."""
    assert configs.plan(f"{GOOD}{line}\n").status == "migrate"


@pytest.mark.parametrize("garbled", [GARBLED, LATIN, "\ufffd\ufffd"])
def test_settings_that_were_swallowed_are_refused(configs: Any, garbled: str) -> None:
    """A setting behind garbled text in a comment has lost its line; half of the file must not be migrated."""
    text = f"{GOOD}batch_size: 4  # {garbled} learning_rate: 0.1\n"
    if any("\x80" <= character < "\xa0" for character in garbled):
        assert "can't be understood" in refusal(configs.plan(text))  # YAML has no such characters
    else:
        reason = refusal(configs.plan(text))
        assert "line 6: learning_rate stands in a comment behind garbled text" in reason


@pytest.mark.parametrize(
    "comment",
    [
        "# 学習率を下げる: learning_rate: 0.1",
        "# learning_rate: 0.1  (switched off)",
        f"# {GARBLED}",
        "# naïve Größe – “quoted” learning_rate: 1",
        "# lower than batch_size: 4",
    ],
)
def test_comments_may_hold_settings(configs: Any, comment: str) -> None:
    """Settings that somebody switched off, and comments in any language, are no damage."""
    plan = configs.plan(f"{GOOD}{comment}\nepochs: 3\n")
    assert comment.encode() in configs.after(plan)


def test_garbled_text_is_told_from_text_in_any_language() -> None:
    """Text in the wrong encoding is found; text in the right one is not."""
    for text in ("使わない", "学習率", "Größe", "naïve – “x”", "Привет", "ﾃｽﾄ", "100 % ±5 °C", ""):
        assert not is_garbled(text), text
        wrong = text.encode().decode("latin-1")
        assert is_garbled(wrong) or wrong == text, text


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "cp932", "utf-8"])
def test_broken_encodings_are_reported(configs: Any, encoding: str) -> None:
    """What can't be read is refused with the reason; it is not unknown, and it is not half-migrated."""
    text = GOOD + "# 設定\nepochs: 3\n"
    data = text.encode(encoding) + (b"\xff\xfe\xfa" if encoding == "utf-8" else b"")
    plan = configs.plan(data)
    if encoding == "utf-16":  # with its mark, it is read as it is
        assert configs.value(plan)["training"]["epochs"] == 3
        assert configs.after(plan).startswith(b"\xff\xfe")
    else:
        assert "can't be understood" in refusal(plan)


def test_control_characters_are_reported_with_their_line(configs: Any) -> None:
    """UTF-16 with line ends of Windows and control characters that no YAML has."""
    text = (GOOD + "epochs: 3  # \u0099\n").replace("\n", "\r\n")
    reason = refusal(configs.plan(b"\xff\xfe" + text.encode("utf-16-le")))
    assert "line 6" in reason
    assert "U+0099" in reason


def test_a_tab_is_reported_with_its_line(configs: Any) -> None:
    """One name of ours beside the shape of a model is enough to say why it can't be read."""
    reason = refusal(configs.plan("d_model: 64\nuse_mourre: true\n\tn_layers: 2\n"))
    assert "line 3" in reason
    assert configs.plan("d_model: 64\n\tn_layers: 2\n").status == "unknown"


def test_two_documents_in_a_file_are_refused(configs: Any) -> None:
    """A configuration is one document."""
    assert "2 YAML documents" in refusal(configs.plan(f"{GOOD}---\nd_model: 32\n"))


def test_a_name_that_occurs_twice_is_refused(configs: Any) -> None:
    """YAML that says two things of one name can't be understood."""
    reason = refusal(configs.plan(f"{GOOD}d_model: 65\n"))
    assert "'d_model' occurs twice" in reason


def test_a_name_that_occurs_twice_in_json_is_reported(configs: Any) -> None:
    """The last one counts, as for every reader of JSON."""
    plan = configs.plan('{"d_model": 64, "n_layers": 2, "n_seq": 8, "d_model": 96}', name="a.json")
    assert configs.value(plan)["model"]["d_model"] == 96
    assert any("more than once" in finding.message for finding in plan.findings)


def test_anchors_that_a_change_would_reach_are_refused(configs: Any) -> None:
    """What stands in two places by reference is not moved; the advice says what to do."""
    text = f"{GOOD}shared: &all\n  batch_size: 4\ntraining:\n  <<: *all\n  learning_rate: 0.1\n"
    plan = configs.plan(text)
    refusal(plan)
    assert any("anchor" in finding.advice for finding in plan.findings)


def test_anchors_that_nothing_touches_are_kept(configs: Any) -> None:
    """An anchor that moves with its only alias is no obstacle."""
    text = f"{GOOD}evaluation:\n  first: &x [1, 2]\n  second: *x\n"
    assert configs.migrate(text)["extras"]["evaluation"] == {"first": [1, 2], "second": [1, 2]}


def test_what_the_file_says_of_secrets_is_not_repeated(configs: Any) -> None:
    """Findings name the value of settings, and unknown ones only in short."""
    plan = configs.plan(f"{GOOD}note_of_mine: {'x' * 500}\n")
    assert all(len(str(finding)) < 400 for finding in plan.findings)
