"""What tests of programs for ResNet-BK share: they are migrated as users do it, and run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

Migrated = Callable[[str], str]
RunMigrated = Callable[..., dict[str, Any]]


@pytest.fixture
def migrated(tmp_path: Path) -> Migrated:
    """Gives what becomes of a program, whatever version it is for; a second time changes nothing."""
    pytest.importorskip("libcst")
    from modelplug.migration.candidates import Candidate
    from modelplug.migration.detection import Wishes
    from modelplug.migration.graph import MigrationGraph
    from modelplug.migration.planning import Planner
    from modelplug.paths import Paths
    from modelplug_migrators.resnet_bk.family import FAMILY, STEPS

    home = tmp_path / "home"
    planner = Planner(MigrationGraph([FAMILY], STEPS), Paths(config=home, data=home, cache=home, logs=home))

    def migrate(text: str) -> str:
        path = tmp_path / "program.py"
        path.write_text(dedent(text), "utf-8")
        plan = planner.plan_candidate(Candidate(path), Wishes())
        if plan.status == "current" or not plan.changes:
            return dedent(text)
        assert plan.status == "migrate", plan.error
        (change,) = plan.changes
        assert change.after is not None
        after = change.after.decode()
        path.write_text(after, "utf-8")
        again = planner.plan_candidate(Candidate(path), Wishes())
        assert not again.changes, "a second time changes something"
        return after

    return migrate


@pytest.fixture
def run_migrated(migrated: Migrated) -> RunMigrated:
    """Gives the names that a program leaves behind, migrated and run; warnings are errors."""

    def run(text: str, **names: Any) -> dict[str, Any]:
        names["__name__"] = "program"
        exec(compile(migrated(text), "program.py", "exec"), names)
        return names

    return run


@pytest.fixture(scope="module")
def compilers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Do once what leaves traces in the process: compilers are imported, a model is written and read."""
    torch = pytest.importorskip("torch")
    resnet_bk = pytest.importorskip("resnet_bk")
    tqdm = pytest.importorskip("tqdm")
    place = tmp_path_factory.mktemp("first")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCHINDUCTOR_CACHE_DIR", str(place / "compiler"))
        patch.setattr(tqdm.tqdm, "monitor_interval", 0)
        parameter = torch.nn.Parameter(torch.zeros(1))
        torch.optim.AdamW([parameter]).zero_grad()
        config = resnet_bk.MambaKillerConfig(vocab_size=2, d_model=32, n_layers=1)
        model = resnet_bk.ResNetBK(config)
        model(torch.zeros(1, 2, dtype=torch.long)).logits.sum().backward()
        model.save_pretrained(place)
        resnet_bk.ResNetBK.from_pretrained(place)
        yield
