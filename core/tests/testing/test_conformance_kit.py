"""The conformance kit finds what is wrong: each deliberate fault fails the tests about it, and no other."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from xml.etree import ElementTree

import pytest

ENGINE = Path(__file__).with_name("faulty_engine")

METADATA = "Metadata-Version: 2.1\nName: modelplug-faulty\nVersion: 1.0\n"
ENTRY_POINTS = "[modelplug]\nfaulty = modelplug_faulty\n"
# These start processes of their own; faults that they are not about are tried without them.
SLOW = "inline or killed or closing or damaged or useless or deep_probe or no_file or ignored or embeddings"

ENGINE_FAULTS: dict[str, set[str]] = {
    # streams
    "no_stream": {"test_output_comes_in_pieces", "test_cancelled_while_generating"},
    "two_ends": {"test_last_chunk_and_only_it_is_final"},
    "empty_chunks": {"test_output_comes_in_pieces"},
    "miscounts_prompt": {"test_tokens_are_counted", "test_token_ids_as_prompt", "test_empty_prompt"},
    "miscounts_output": {"test_tokens_are_counted"},
    "forgets_requests": {"test_statistics_of_the_model_grow"},
    "one_token_too_many": {
        "test_limit_is_exact",
        "test_logprobs",
        "test_prompt_is_truncated_on_request",
        "test_token_ids",
    },
    # prompts and tokens
    "adds_start_to_tokens": {
        "test_empty_prompt",
        "test_output_ends_with_the_context",
        "test_prompt_that_does_not_fit",
        "test_prompt_that_just_fits",
        "test_token_ids_as_prompt",
    },
    "strips_text": {"test_tokens_give_the_text_back", "test_long_text"},
    "truncates_in_silence": {"test_prompt_that_does_not_fit"},
    "truncates_without_warning": {"test_prompt_is_truncated_on_request"},
    "context_is_smaller": {
        "test_output_ends_with_the_context",
        "test_prompt_that_does_not_fit",
        "test_prompt_that_just_fits",
    },
    "context_overruns": {
        "test_output_ends_with_the_context",
        "test_prompt_is_truncated_on_request",
        "test_prompt_that_does_not_fit",
        "test_prompt_that_just_fits",
    },
    # stop strings
    "ignores_stop": {"test_stop_string_ends_the_output", "test_first_of_several_stop_strings_counts"},
    "stops_at_tokens_only": {"test_stop_string_ends_the_output", "test_first_of_several_stop_strings_counts"},
    # sampling
    "ignores_seed": {"test_seed_repeats_the_text", "test_requests_at_once_are_as_if_alone"},
    "seed_is_constant": {"test_other_seeds_give_other_texts"},
    "no_fresh_seed": {"test_no_seed_means_a_fresh_one"},
    "fakes_temperature": {
        "test_no_seed_means_a_fresh_one",
        "test_other_seeds_give_other_texts",
        "test_temperature_has_an_effect",
    },
    "temperature_comes_first": {"test_filters_come_before_temperature"},
    "fakes_top_k": {"test_top_k"},
    "fakes_top_p": {"test_top_p"},
    "fakes_min_p": {"test_min_p", "test_filters_come_before_temperature"},
    "fakes_repeat_penalty": {"test_repeat_penalty"},
    "default_not_honoured": {"test_default_parameters_are_honoured"},
    # capabilities
    "logprobs_are_positive": {"test_logprobs"},
    "forgets_conversation": {"test_chat"},
    "wrong_backend_name": {"test_what_is_in_force_is_told"},
    # cancelling
    "swallows_cancel": {
        "test_cancelled_while_generating",
        "test_cancelled_before_it_begins",
        "test_cancelled_before_the_first_token",
        "test_leaving_the_stream_stops_the_engine",
    },
}
# An engine that is dead, or never says the same thing twice, can't pass many other tests either.
BROAD_FAULTS: dict[str, set[str]] = {
    "crashes_on_unknown_token": {"test_unknown_tokens_are_refused"},
    "greedy_is_not": {"test_greedy_decoding_repeats"},
}
SLOW_FAULTS: dict[str, set[str]] = {
    "mixes_up_vectors": {"test_embeddings"},
    "leaks_process": {
        "test_closing_leaves_no_process",
        "test_engine_is_killed",
        "test_host_is_killed",
        "test_inline_gives_the_same_text",
    },
    "leaks_temporary_file": {
        "test_closing_leaves_no_temporary_file",
        "test_engine_is_killed",
        "test_host_is_killed",
        "test_inline_gives_the_same_text",
    },
}
PLUGIN_FAULTS: dict[str, set[str]] = {
    "heavy_import": {"test_importing_the_plugin_imports_no_engine", "test_detection_imports_no_engine"},
    "import_starts_process": {"test_importing_the_plugin_starts_nothing"},
    "detection_imports_engine": {"test_detection_imports_no_engine"},
    "detection_starts_process": {"test_detection_starts_nothing"},
    "unknown_setting": {"test_report_and_settings_class_agree"},
    "silent_setting": {"test_report_and_settings_class_agree"},
    "undocumented_setting": {"test_settings_are_documented"},
    "nameless_engine": {"test_report_is_well_formed"},
    "probe_missing": {"test_deep_probe_answers"},
    "unannounced_capability": {"test_capabilities_were_announced"},
    "loads_anything": {"test_useless_files_are_refused"},
}

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(600)]


def install(target: Path) -> None:
    """Put the faulty plugin into a directory as an installed distribution."""
    shutil.copytree(ENGINE, target, ignore=shutil.ignore_patterns("__pycache__"))
    (target / "ctranslate2.py").write_text('"""Not the real one."""\n', encoding="utf-8")
    metadata = target / "modelplug_faulty-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(METADATA, encoding="utf-8")
    (metadata / "entry_points.txt").write_text(ENTRY_POINTS, encoding="utf-8")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the faulty plugin, ready for PYTHONPATH."""
    target = tmp_path_factory.mktemp("faulty") / "site"
    install(target)
    return target


class Run:
    """What pytest said of some test classes.

    Args:
        site: Where the faulty plugin is.
        directory: An empty directory.
        classes: The test module's classes.
        options: Further arguments for pytest.
        plugin_fault: The fault of the plugin itself.
    """

    def __init__(
        self, site: Path, directory: Path, classes: str, *options: str, plugin_fault: str = ""
    ) -> None:
        module = directory / "test_faulty.py"
        module.write_text(
            "from modelplug.testing import BackendConformance\n\n\n" + classes, encoding="utf-8"
        )
        report = directory / "report.xml"
        command = [sys.executable, "-m", "pytest", str(module), "-q", "-p", "no:cacheprovider"]
        command += [
            "--rootdir",
            str(directory),
            f"--basetemp={directory / 'base'}",
            f"--junitxml={report}",
            "-W",
            "error",
            *options,
        ]
        environment = {**os.environ, "PYTHONPATH": str(site), "FAULTY_PLUGIN": plugin_fault}
        environment.pop("PYTEST_ADDOPTS", None)
        self.result = subprocess.run(
            command, env=environment, cwd=directory, capture_output=True, encoding="utf-8", timeout=580
        )
        self.output = self.result.stdout + self.result.stderr
        assert report.exists(), self.output
        self.cases = list(ElementTree.parse(report).iter("testcase"))

    def failed(self, kind: str) -> set[str]:
        """The tests of a class that failed."""
        return {case.get("name", "") for case in self._of(kind) if self._bad(case)}

    def passed(self, kind: str) -> set[str]:
        """The tests of a class that passed."""
        return {case.get("name", "") for case in self._of(kind) if not len(case)}

    def summary(self, kind: str) -> str:
        """What the failures of a class say, each cut short."""
        bad = [case for case in self._of(kind) if self._bad(case)]
        texts = [f"{case.get('name')}: {''.join(part.text or '' for part in case)[-800:]}" for case in bad]
        return "\n\n".join(texts) or f"nothing failed; pytest said:\n{self.output[-2000:]}"

    def message(self, test: str) -> str:
        """What the failure of a test says."""
        case = next(case for case in self.cases if case.get("name") == test and self._bad(case))
        return "".join(part.text or "" for part in case)

    def _of(self, kind: str) -> list[ElementTree.Element]:
        return [case for case in self.cases if case.get("classname", "").endswith(f".{kind}")]

    @staticmethod
    def _bad(case: ElementTree.Element) -> bool:
        return any(part.tag in ("failure", "error") for part in case)


def class_with(fault: str, *, name: str = "") -> str:
    """A test class whose engine has a fault."""
    return textwrap.dedent(f"""\
        class Test_{name or fault}(BackendConformance):
            backend = "faulty"
            engine_modules = ("faulty_engine_library",)
            settings = {{"fault": {fault!r}}}


        """)


@pytest.fixture(scope="module")
def engine_run(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """All faults of the engine itself, in one run of pytest."""
    classes = "".join(class_with(fault) for fault in (*ENGINE_FAULTS, *BROAD_FAULTS))
    return Run(site, tmp_path_factory.mktemp("engine"), classes, "-k", f"not ({SLOW})")


@pytest.fixture(scope="module")
def slow_run(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The tests that start processes, with faults they are about."""
    classes = "".join(class_with(fault) for fault in SLOW_FAULTS)
    return Run(site, tmp_path_factory.mktemp("slow"), classes, "-k", SLOW)


def test_an_engine_without_fault_passes(site: Path, tmp_path: Path) -> None:
    """An engine that keeps the contract passes every test, and none is skipped."""
    run = Run(site, tmp_path, class_with("", name="healthy"))

    assert run.result.returncode == 0, run.output
    assert len(run.passed("Test_healthy")) == len(run.cases) > 70


@pytest.mark.parametrize("fault", ENGINE_FAULTS)
def test_a_fault_of_the_engine_fails_its_tests_only(fault: str, engine_run: Run) -> None:
    """An engine with one fault fails exactly the tests that are about it."""
    assert engine_run.failed(f"Test_{fault}") == ENGINE_FAULTS[fault], engine_run.summary(f"Test_{fault}")
    assert len(engine_run.passed(f"Test_{fault}")) > 40


@pytest.mark.parametrize("fault", BROAD_FAULTS)
def test_a_broad_fault_fails_its_tests_too(fault: str, engine_run: Run) -> None:
    """An engine with a fault that spoils much else fails the tests that are about it, among others."""
    assert engine_run.failed(f"Test_{fault}") >= BROAD_FAULTS[fault], engine_run.summary(f"Test_{fault}")


def test_messages_name_the_broken_clause(engine_run: Run) -> None:
    """A failure says what the engine did, and where the clause is documented."""
    message = engine_run.message("test_top_k")

    assert "leaves only the most probable token" in message
    assert "GenerateParams.top_k, documented in modelplug.backends.model" in message


@pytest.mark.parametrize("fault", SLOW_FAULTS)
def test_what_an_engine_leaves_behind_is_found(fault: str, slow_run: Run) -> None:
    """An engine that leaves something behind fails exactly the tests of what is left."""
    assert slow_run.failed(f"Test_{fault}") == SLOW_FAULTS[fault], slow_run.summary(f"Test_{fault}")


@pytest.mark.parametrize("fault", PLUGIN_FAULTS)
def test_a_fault_of_the_plugin_fails_its_tests_only(fault: str, site: Path, tmp_path: Path) -> None:
    """A plugin with one fault fails exactly the tests that are about it."""
    (expected, *_) = PLUGIN_FAULTS[fault]
    only = "import or detection or plugin or report or settings_are or announced"
    slow = {"test_deep_probe_answers": "deep_probe", "test_useless_files_are_refused": "useless"}
    run = Run(
        site,
        tmp_path,
        class_with("", name="kind"),
        "-k",
        f"({only} or {slow.get(expected, 'nothing_else')}) and not unknown",
        plugin_fault=fault,
    )

    assert run.failed("Test_kind") == PLUGIN_FAULTS[fault], run.summary("Test_kind")


def test_a_plugin_that_is_left_out_is_explained(site: Path, tmp_path: Path) -> None:
    """Where the plugin itself was refused, each failure says why it was."""
    options = ("-k", "plugin_states or plugin_is_ready")
    run = Run(site, tmp_path, class_with("", name="kind"), *options, plugin_fault="version_is_a_number")

    assert len(run.failed("Test_kind")) == 2
    assert "MODELPLUG_HOOKSPEC_VERSION is 1.0" in run.message("test_plugin_is_ready")


def test_an_absent_engine_fails_unless_that_is_allowed(site: Path, tmp_path: Path) -> None:
    """Without its engine, a plugin fails the tests that need it, or has them skipped with the cause."""
    absent = class_with("", name="strict") + class_with("", name="lenient").rstrip()
    classes = absent + "\n    engine_required = False\n"
    options = ("-k", "helps_where or cancelled_while or plugin_is_ready")
    run = Run(site, tmp_path, classes, *options, plugin_fault="absent_without_advice")

    assert run.failed("Test_strict") == {
        "test_cancelled_while_generating",
        "test_report_helps_where_the_engine_is_missing",
    }
    assert run.failed("Test_lenient") == {"test_report_helps_where_the_engine_is_missing"}
    assert "test_plugin_is_ready" in run.passed("Test_lenient")
    assert "it was never built" in run.output
