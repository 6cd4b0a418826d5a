"""For any mixture of settings: nothing raises or is lost, the result is valid, stays, and leads back."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelplug.documents import read_document
from modelplug.migration.candidates import Candidate
from modelplug.migration.detection import Wishes
from modelplug.migration.graph import MigrationGraph
from modelplug.migration.planning import Planner
from modelplug.paths import Paths
from modelplug_migrators.resnet_bk.configs import check, upgrade_values
from modelplug_migrators.resnet_bk.configs.reasons import known_names
from modelplug_migrators.resnet_bk.configs.settings import BY_NAME
from modelplug_migrators.resnet_bk.family import FAMILY, STEPS

pytestmark = pytest.mark.timeout(600)

# What `model_type` says decides whose configuration it is.
DERIVED = {"warmup_steps", "min_lr", "eval_steps", "effective_batch_size"}
NAMES = sorted({*BY_NAME, *known_names(), *DERIVED} - {"model_type"})
SECTION_NAMES = [
    "model",
    "training",
    "optimization",
    "data",
    "dataset",
    "checkpoint",
    "logging",
    "monitoring",
]
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 5000),
    st.floats(allow_nan=False, allow_infinity=False, width=32),
    st.sampled_from(["1e-4", "1.0e6", "auto", "cosine", "bf16", "yes", "off", "", "8"]),
    st.text(max_size=5),
)
VALUES = SCALARS | st.lists(SCALARS, max_size=3) | st.dictionaries(st.text(max_size=4), SCALARS, max_size=2)
# Names that say where a configuration is, and of which version, are no settings.
SPECIAL = {"config", "extras", "_base_", "model_config", "resnet_bk"}
KEYS = st.sampled_from(NAMES) | st.text(max_size=6).filter(lambda name: name not in SPECIAL)
SETTINGS = st.dictionaries(KEYS, VALUES, max_size=8)
SHAPES = st.fixed_dictionaries(
    {"d_model": st.integers(1, 300), "n_layers": st.integers(1, 4), "use_mourre": st.booleans()}
)


@st.composite
def mixtures(draw: st.DrawFn) -> dict[str, Any]:
    """Settings of any version and any shape, with values that fit or do not, in any order."""
    mixed = {
        **draw(SETTINGS),
        **draw(st.dictionaries(st.sampled_from(SECTION_NAMES), SETTINGS | VALUES, max_size=3)),
        **draw(st.fixed_dictionaries({}, optional={"extras": SETTINGS, "quantization": SETTINGS})),
        **draw(SHAPES),
    }
    mixed = {name: mixed[name] for name in draw(st.permutations(list(mixed)))}
    return {"config": mixed, "steps": [1, 2.5]} if draw(st.integers(0, 9)) == 0 else mixed


def leaves(value: Any) -> int:
    """How many keys an object holds that hold no others."""
    return sum(map(leaves, value.values())) if isinstance(value, dict) and value else 1


@pytest.fixture(scope="module")
def workplace() -> Any:
    """A folder for all examples, and a planner."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        home = folder / "home"
        paths = Paths(config=home, data=home, cache=home, logs=home)
        yield folder, Planner(MigrationGraph([FAMILY], STEPS), paths)


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(values=mixtures())
def test_any_mixture_is_migrated_or_refused_with_a_reason(workplace: Any, values: dict[str, Any]) -> None:
    """The account adds up; the result has no error, and a second time nothing is to be done."""
    folder, planner = workplace
    path = folder / "mixture.json"
    path.write_text(json.dumps(values, indent=1))
    plan = planner.plan_candidate(Candidate(path), Wishes())
    if plan.status == "refused":
        assert any(finding.severity.value == "error" for finding in plan.findings), plan.error
        assert plan.changes == ()
        return
    assert plan.status == "migrate", (plan.status, plan.error)
    assert sum(plan.account.counts().values()) == leaves(values)
    (change,) = plan.changes
    assert change.after is not None
    path.write_bytes(change.after)
    assert planner.plan_candidate(Candidate(path), Wishes()).status == "current"
    issues = [str(issue) for issue in check(Candidate(path)) if issue.severity.value == "error"]
    assert issues == []
    if "config" not in values:
        assert upgrade_values(values).value == read_document(change.after, "json").value


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(values=mixtures())
def test_any_mixture_leads_back_and_forth(workplace: Any, values: dict[str, Any]) -> None:
    """What went back to 0.9 comes forward to the same configuration of 1.0."""
    folder, planner = workplace
    path = folder / "there.json"
    values.pop("extras", None)  # which only files of 1.0 have
    values.get("config", {}).pop("extras", None)
    path.write_text(json.dumps(values, indent=1))
    there = planner.plan_candidate(Candidate(path), Wishes())
    if there.status == "refused":
        return
    current = there.changes[0].after
    path.write_bytes(current)
    back = planner.plan_candidate(Candidate(path), Wishes(target="0.9"))
    if back.status == "refused":
        assert any(finding.severity.value == "error" for finding in back.findings), back.error
        return
    assert sum(back.account.counts().values()) == leaves(json.loads(current))
    path.write_bytes(back.changes[0].after)
    again = planner.plan_candidate(Candidate(path), Wishes())
    assert again.status == "migrate", again.error
    assert read_document(again.changes[0].after, "json").value == read_document(current, "json").value


WORDS = st.text("abc xyz:-_", min_size=1, max_size=12).map(str.strip).filter(bool)


@st.composite
def canonical_texts(draw: st.DrawFn) -> str:
    """Configurations of 0.9 whose every key has a place in the same section of 1.0, with comments."""
    lines = []

    def entry(name: str, value: str) -> None:
        lines.append(f"  {name}:{draw(st.sampled_from([' ', '  ']))}{value}")
        if draw(st.booleans()):
            lines[-1] += f"  # {draw(WORDS)}"
        if draw(st.integers(0, 4)) == 0:
            lines.append(draw(st.sampled_from(["", "  # " + draw(WORDS)])))

    micro, parts, steps = draw(st.integers(1, 9)), draw(st.integers(1, 4)), draw(st.integers(100, 9999))
    lines += [f"# {word}" for word in draw(st.lists(WORDS, max_size=2))]
    lines += ["", "model:"]
    entry("d_model", str(16 * draw(st.integers(1, 20))))
    entry("n_layers", str(draw(st.integers(1, 9))))
    entry("epsilon", draw(st.sampled_from(["1.0", "0.50", "1"])))
    entry("use_mourre", draw(st.sampled_from(["true", "false", "True"])))
    lines += ["training:"]
    for name, value in draw(
        st.permutations(
            [
                ("learning_rate", draw(st.sampled_from(["1.0e-3", "0.0010", "1"]))),
                ("adam_beta1", "0.90"),
                ("max_grad_norm", "1.0"),
                ("batch_size", str(micro)),
                ("gradient_accumulation_steps", str(parts)),
                ("max_steps", str(steps)),
                ("warmup_steps", str(draw(st.integers(0, steps)))),
                ("lr_scheduler", draw(st.sampled_from(["cosine", "'constant'", '"cosine"']))),
                ("mixed_precision", draw(st.sampled_from(["true", "false"]))),
                ("eval_interval", "50"),
                ("eval_steps", str(draw(st.integers(1, 9)))),
            ]
        )
    ):
        entry(name, value)
    lines += ["checkpoint:"]
    entry("save_dir", draw(st.sampled_from(["runs/a", '"./b"'])))
    newline = draw(st.sampled_from(["\n", "\r\n"]))
    return newline.join(lines) + draw(st.sampled_from(["", newline]))


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(text=canonical_texts())
def test_there_and_back_gives_the_bytes(workplace: Any, text: str) -> None:
    """Where every key stays in its section, going to 1.0 and back restores the file, comments and all."""
    folder, planner = workplace
    path = folder / "canonical.yaml"
    before = text.encode()
    path.write_bytes(before)
    there = planner.plan_candidate(Candidate(path), Wishes())
    assert there.status == "migrate", there.error
    current = there.changes[0].after
    comments = re.compile(rb"#[^\r\n]*")
    assert comments.findall(current) == comments.findall(before)
    path.write_bytes(current)
    back = planner.plan_candidate(Candidate(path), Wishes(target="0.9"))
    assert back.status == "migrate", back.error
    assert back.changes[0].after == before
