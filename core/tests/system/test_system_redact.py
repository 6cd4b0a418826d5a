"""What goes into a bug report names nobody and opens nothing."""

from __future__ import annotations

import json
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelplug.system.info import Device
from modelplug.system.redact import REDACTED, Redactor, redact

ALICE = Redactor("/home/alice", "alice")
BOB = Redactor(r"C:\Users\Bob Smith", "Bob Smith")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/home/alice/models/a.gguf", "~/models/a.gguf"),
        ("open('/home/alice')", "open('~')"),
        ("/home/carol/x and /Users/dave/y", "~/x and ~/y"),
        ("/home/alice-old/x", "~/x"),
        ("run by alice on Tuesday, not by malice", "run by <user> on Tuesday, not by malice"),
        ("/data/alice/x", "/data/<user>/x"),
        (r"C:\Users\eve\m.gguf", r"~\m.gguf"),
        ("HF_TOKEN=hf_abcdefghijklmnop", f"HF_TOKEN={REDACTED}"),
        ("using hf_abcdefghijklmnop now", f"using {REDACTED} now"),
        ("Authorization: Bearer abc.def", f"Authorization: Bearer {REDACTED}"),
        ("https://bob:pw@host/x", f"https://{REDACTED}@host/x"),
        ("--api-key sk123 --threads 4", f"--api-key {REDACTED} --threads 4"),
        ('{"password": "p w"}', f'{{"password": "{REDACTED}"}}'),
        ("password=12345678", f"password={REDACTED}"),
        ("password=a,b)c&d more", f"password={REDACTED} more"),
        ('token: "cut off her', f'token: "{REDACTED}'),
        ('{"max_tokens":5,"use_token":true,"key":null}', '{"max_tokens":5,"use_token":true,"key":null}'),
        ("max_tokens=512 tokens_per_second: 12.5", "max_tokens=512 tokens_per_second: 12.5"),
        ("the token limit is 5", "the token limit is 5"),
        ("n_ctx = 4096, f16_kv = 1", "n_ctx = 4096, f16_kv = 1"),
        ("/usr/lib/libllama.so", "/usr/lib/libllama.so"),
    ],
)
def test_text(text: str, expected: str) -> None:
    """Paths below a home, names and secrets go; numbers and other paths stay."""
    assert ALICE.text(text) == expected


def test_windows_home_with_a_space() -> None:
    """A Windows home is found in any case, with any slash, and doubled in JSON."""
    assert BOB.text(r"C:\Users\Bob Smith\x") == r"~\x"
    assert BOB.text("c:/users/bob smith/x") == "~/x"
    assert BOB.text(json.dumps(r"C:\Users\Bob Smith\x")) == r'"~\\x"'


def test_structures_are_walked() -> None:
    """Every level of a structure is redacted, and values under secret names go as a whole."""
    found = ALICE.value(
        {
            "path": PurePosixPath("/home/alice/m.gguf"),
            "other": PureWindowsPath(r"C:\Users\eve\x"),
            "env": [("HF_TOKEN", "x"), {"API_KEY": {"deep": "secret"}, "apiKey": 5}],
            "Password": 12345,
            "nothing": None,
            "raw": b"/home/alice",
            "sets": {"alice"},
            "/home/alice/key.txt": 1,
        }
    )
    assert found == {
        "path": "~/m.gguf",
        "other": r"~\x",
        "env": [["HF_TOKEN", "x"], {"API_KEY": REDACTED, "apiKey": REDACTED}],
        "Password": REDACTED,
        "nothing": None,
        "raw": "~",
        "sets": ["<user>"],
        "~/key.txt": REDACTED,
    }


def test_measurements_stay() -> None:
    """Numbers that count tokens, and what a tokenizer is, are what a report is for."""
    data = {
        "prompt_tokens": 5,
        "tokens_per_second": 12.5,
        "first_token_seconds": 0.2,
        "key_length": 128,
        "eos_token_id": 2,
        "tokenizer": "gpt2",
        "token_counts": [1, 2],
        "use_token": True,
    }
    expected = dict(data)
    assert ALICE.value(data) == expected
    assert ALICE.value({"tokens": ["abc"]}) == {"tokens": REDACTED}


def test_records_become_data() -> None:
    """A record is redacted field by field."""
    device = Device(id="cuda:0", api="cuda", index=0, name="alice's GPU", vendor="nvidia")
    assert redact(device, redactor=ALICE)["name"] == "<user>'s GPU"


def test_a_common_name_is_not_blotted_out() -> None:
    """`root` and very short names are left: replacing them would garble the report and hide nobody."""
    assert Redactor("/root", "root").text("the root of /root/x; root@host") == "the root of ~/x; root@host"
    assert Redactor("/home/al", "al").text("al in /home/al/x and metal") == "al in ~/x and metal"


def test_the_home_of_this_process_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a redactor, the home of whoever runs it is used."""
    monkeypatch.setenv("HOME", "/srv/people/zoe")
    monkeypatch.setenv("LOGNAME", "zoe_q")
    assert redact("/srv/people/zoe/x by zoe_q") == "~/x by <user>"


secret = st.one_of(
    st.from_regex(r"hf_[A-Za-z0-9]{20,34}", fullmatch=True),
    st.from_regex(r"sk-[A-Za-z0-9]{20,48}", fullmatch=True),
    st.from_regex(r"ghp_[A-Za-z0-9]{20,36}", fullmatch=True),
)
secret_key = st.sampled_from(
    [
        "token",
        "HF_TOKEN",
        "api_key",
        "apiKey",
        "client_secret",
        "PASSWORD",
        "ssh-key",
        "x-auth-token",
        "key",
        "tokens",
    ]
)
noise = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=30)
separator = st.sampled_from([" ", "\n", '"', "'", "=", ": ", ", ", "(", "/"])
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | noise,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(noise, inner, max_size=3),
    max_leaves=8,
)


def flat(value: Any) -> str:
    """Everything in a structure as one text."""
    return json.dumps(value, ensure_ascii=False)


@given(before=noise, left=separator, token=secret, right=separator, after=noise)
def test_known_secrets_never_survive(before: str, left: str, token: str, right: str, after: str) -> None:
    """A secret of a known shape is gone, whatever stands around it."""
    assert token not in ALICE.text(before + left + token + right + after)


@given(name=secret_key, value=st.from_regex(r"[A-Za-z0-9+]{9,30}", fullmatch=True), around=plain)
def test_values_of_secret_names_never_survive(name: str, value: str, around: object) -> None:
    """A text under a secret name is gone, however deep it is and whatever it looks like."""
    marked = f"Zq9{value}"
    result = ALICE.value({"outer": [around, {name: marked, "n": {name: [marked]}}]})
    assert marked not in flat(result)


@given(
    name=secret_key.filter(lambda key: key != "key"),
    sign=st.sampled_from(["=", ": ", " = ", '": "']),
    value=st.from_regex(r"Zq9[A-Za-z0-9+]{9,30}", fullmatch=True),
)
def test_assignments_in_text_never_survive(name: str, sign: str, value: str) -> None:
    """A secret assigned in a text is gone."""
    assert value not in ALICE.text(f"start {name}{sign}{value} end")


@given(before=noise, after=noise, user=st.from_regex(r"[a-z][a-z0-9]{3,9}", fullmatch=True))
def test_homes_never_survive(before: str, after: str, user: str) -> None:
    """The home directory is gone wherever a path can stand."""
    home = f"/srv/homes/{user}"
    assert home not in Redactor(home, user).text(f"{before} {home}/{after}")


@given(value=plain)
def test_redacting_twice_changes_nothing(value: object) -> None:
    """What was redacted stays as it is."""
    once = ALICE.value(value)
    assert ALICE.value(once) == once


@given(value=plain)
def test_the_shape_stays(value: object) -> None:
    """Numbers, lists and nesting are kept; the result can be written as JSON."""
    result = ALICE.value(value)
    json.dumps(result)
    if isinstance(value, list):
        assert len(result) == len(value)
    elif not isinstance(value, (str, dict)):
        assert result == value
