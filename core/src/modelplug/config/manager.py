"""The settings as a program sees them: defaults, file, environment and command line, joined."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

from modelplug.config import checking, store
from modelplug.config.document import Document, KeyPath, split_key
from modelplug.config.environment import read_environment
from modelplug.config.layers import MISSING, Layer, Origin, flatten, lookup, merge, place, without
from modelplug.config.schema import Settings
from modelplug.config.structure import find_problems, known_only, problem_error, structure, structure_settings
from modelplug.errors import ConfigError
from modelplug.paths import Paths

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["ConfigManager"]

S = TypeVar("S")


class ConfigManager:
    """The settings: read on first use, changed with `set`, written with `save`.

    Values come, in order of increasing say, from the defaults, the file, the environment and the overrides of
    the command line. Changes touch the file only.

    Args:
        paths: Where the file is; None asks the environment.
        environ: The environment to read; None reads the process's own.
        overrides: Values of the command line, by dotted key or nested; None values count as not given.
        settings_classes: Gives the settings class of each installed backend, by name. With it, `set` and the
            environment are checked against them too.

    Example:
        >>> config = ConfigManager()
        >>> config.set_backend("llamacpp")
        >>> config.save()
    """

    def __init__(
        self,
        paths: Paths | None = None,
        *,
        environ: Mapping[str, str] | None = None,
        overrides: Mapping[str, Any] | None = None,
        settings_classes: Callable[[], checking.SettingsClasses] | None = None,
    ) -> None:
        self._environ = os.environ if environ is None else environ
        self._paths = Paths.from_environment(self._environ) if paths is None else paths
        self._overrides = _nested(overrides or {})
        self._settings_classes = settings_classes or dict
        self._edits: list[store.Edit] = []
        self._reset = False

    @property
    def path(self) -> Path:
        """The settings file."""
        return self._paths.config_file

    def with_overrides(self, overrides: Mapping[str, Any]) -> ConfigManager:
        """The same settings with these on top; this object stays as it is.

        Args:
            overrides: Values by dotted key, or nested; None values count as not given.
        """
        twin = ConfigManager(self._paths, environ=self._environ, settings_classes=self._settings_classes)
        twin._overrides = merge(self._overrides, _nested(overrides))
        twin._edits, twin._reset = list(self._edits), self._reset
        # Read once: a broken file is to be reported once, and both are to see the same.
        twin.__dict__["_file"] = self._file
        return twin

    # Reading ------------------------------------------------------------------------------------------

    def load(self) -> ConfigManager:
        """Read the file again and forget changes that were not saved.

        Raises:
            ConfigError: It was written by a later version of this program.
        """
        self._edits, self._reset = [], False
        self._forget()
        _ = self._file
        return self

    @cached_property
    def _file(self) -> tuple[Document | None, tuple[str, ...]]:
        try:
            document = store.read(self.path)
        except ConfigError as error:
            # A program that only reads goes on with the defaults; whoever writes sets the file aside first.
            warning = f"{error}; the defaults are used, and the file is left as it is"
            _log_warning(warning, self._paths)
            return None, (warning,)
        if document is None:
            return None, ()
        store.refuse_newer(document)
        return document, ()

    @cached_property
    def _layers(self) -> list[Layer]:
        """Every source, weakest first."""
        document = None if self._reset else self._file[0]
        values = dict(document.value) if document else {}
        layers = [
            Layer(name="default", values=checking.default_settings()),
            Layer(name="file", values=values, document=document),
        ]
        variables, _ = read_environment(self._environ)
        below = merge(values, self._overrides)
        environment: dict[str, Any] = {}
        names: dict[KeyPath, str] = {}
        for variable in variables:
            path = self._as_spelled(variable.path, below)
            place(environment, path, checking.interpret(variable.text, path, self._classes_for(path)))
            names[path] = variable.name
        layers.append(Layer(name="environment", values=environment, variables=names))
        layers.append(Layer(name="command line", values=self._overrides))
        return self._with_edits(layers)

    def _with_edits(self, layers: list[Layer]) -> list[Layer]:
        """The layers with unsaved changes: what they set above the file, what they remove gone from it."""
        pending: dict[str, Any] = {}
        for edit in self._edits:
            # Also for a new value: an object takes the place of the file's, it is not joined with it.
            layers[1] = attrs.evolve(layers[1], values=without(layers[1].values, edit.path))
            pending = without(pending, edit.path)
            if not edit.remove:
                place(pending, edit.path, edit.value)
        layers.insert(2, Layer(name="pending", values=pending))
        return layers

    def _as_spelled(self, path: KeyPath, values: Mapping[str, Any]) -> KeyPath:
        """The path with the backend's name as it is written elsewhere: variables can't hold hyphens."""
        if path[0] != "backends" or len(path) < 2:
            return path
        sections = values.get("backends")
        known = [*self._settings_classes(), *(sections if isinstance(sections, Mapping) else ())]
        name = next((str(n) for n in known if checking.same_name(str(n), path[1])), path[1])
        return ("backends", name, *path[2:])

    def _classes_for(self, path: KeyPath) -> checking.SettingsClasses:
        return self._settings_classes() if path[0] == "backends" else {}

    @property
    def effective(self) -> dict[str, Any]:
        """Every value in force, as plain data; not validated.

        Raises:
            ConfigError: The file was written by a later version of this program.
        """
        joined: dict[str, Any] = {}
        for layer in self._layers:
            joined = merge(joined, layer.values)
        policy = self._policy(self._layers)
        if policy is not None:
            joined["fallback"], joined["fallback_enabled"] = policy, policy != "never"
        return joined

    @staticmethod
    def _policy(layers: list[Layer]) -> str | None:
        """The fallback policy: the strongest source that says anything decides, under either name."""
        for layer in reversed(layers):
            enabled, refined = layer.values.get("fallback_enabled"), layer.values.get("fallback")
            if enabled is False:
                return "never"
            if refined is not None:
                return refined if refined in ("never", "ask", "auto") else None
            if enabled is not None:
                return "auto" if enabled is True else None
        return None

    @property
    def settings(self) -> Settings:
        """Every value in force, validated; unknown names are left out.

        Raises:
            ConfigError: A value is not allowed.
        """
        try:
            return structure(known_only(self.effective, Settings), Settings)
        except ConfigError as error:
            self._blame_its_source(error)
            raise

    def get(self, key: str | KeyPath, default: Any = None) -> Any:
        """The value in force of one setting.

        Args:
            key: Its dotted key, for example `deadlines.load`, or a tuple of names.
            default: What to return for a setting that has neither a value nor a default.

        Raises:
            ConfigError: The value is not allowed.
        """
        path = split_key(key)
        value = lookup(self.effective, path)
        if value is MISSING:
            return default
        wrong = [p for p in checking.problems_at(path, value, {}) if p.kind != "unknown"]
        if wrong:
            raise problem_error(wrong)
        return value

    def origin(self, key: str | KeyPath) -> Origin:
        """Where the value in force of one setting comes from.

        Args:
            key: Its dotted key.
        """
        path = split_key(key)
        names = (
            [("fallback",), ("fallback_enabled",)] if path[0] in ("fallback", "fallback_enabled") else [path]
        )
        for layer in reversed(self._layers):
            for name in names:
                found = lookup(layer.values, name)
                if found is not MISSING and not (found is None and layer.name == "default"):
                    return layer.origin(name)
        return Origin(layer="default")

    def section(self, name: str) -> dict[str, Any]:
        """One backend's section as it is in force, not validated.

        Args:
            name: The backend's name; `my-engine` and `MY_ENGINE` are the same.
        """
        joined: dict[str, Any] = {}
        for layer in self._layers:
            sections = layer.values.get("backends")
            for key, section in sections.items() if isinstance(sections, Mapping) else ():
                if checking.same_name(str(key), name) and isinstance(section, Mapping):
                    joined = merge(joined, section)
        return joined

    def backend_settings(self, name: str, kind: type[S]) -> S:
        """One backend's section with every override applied, as its settings class.

        A name that the class does not know is left out if it comes from the file, where `config validate`
        reports it, and an error if it comes from the environment or the command line.

        Args:
            name: The backend's name.
            kind: Its settings class, an attrs class.

        Raises:
            ConfigError: A value is not allowed.
        """
        values = {}
        for key, value in self.section(name).items():
            path = ("backends", name, key)
            origin = self.origin(path)
            if origin.layer == "environment" and isinstance(value, (str, int, float, bool)):
                value = checking.interpret(self._environ.get(origin.variable, str(value)), path, {name: kind})
            problems = checking.problems_at(path, value, {name: kind})
            if problems and problems[0].kind == "unknown" and origin.layer in ("file", "default"):
                continue
            values[key] = value
        try:
            return structure_settings(name, values, kind)
        except ConfigError as error:
            self._blame_its_source(error)
            raise

    def _blame_its_source(self, error: ConfigError) -> None:
        """Give the error advice that works: setting the key in the file does not help against a variable."""
        origin = self.origin(error.key) if error.key else Origin(layer="default")
        if origin.variable:
            error.advice = f"correct or unset the environment variable {origin.variable}"

    @property
    def broken(self) -> str:
        """Why the file can't be understood; empty if it can. It is logged as a warning when it is found."""
        return "".join(self._file[1])

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a person should know of the settings: a broken file, unknown names, misspelt variables."""
        _, misspelt = read_environment(self._environ)
        document, broken = self._file
        found = [*broken, *misspelt]
        if document is not None:
            found += [str(p) for p in find_problems(document.value, Settings) if p.kind == "unknown"]
        return tuple(found)

    def items(self) -> list[tuple[KeyPath, Any, Origin]]:
        """Every single value in force, with its path and origin."""
        return [(path, value, self.origin(path)) for path, value in flatten(self.effective)]

    # Changing -----------------------------------------------------------------------------------------

    def set(self, key: str | KeyPath, value: Any) -> None:
        """Change one setting; `save` writes it.

        Args:
            key: Its dotted key.
            value: Its new value, as JSON could hold it.

        Raises:
            ConfigError: There is no such setting, or the value is not allowed.
        """
        path = split_key(key)
        problems = checking.problems_at(path, value, self._classes_for(path))
        if problems:
            raise problem_error(problems)
        for edit in self._companions(path, value):
            self._stage(edit)
        self._stage(store.Edit(path=path, value=value))

    def _companions(self, path: KeyPath, value: Any) -> list[store.Edit]:
        """What else must change for the fallback policy's other name not to contradict the new value."""
        file = merge(self._layers[1].values, self._layers[2].values)
        enabled, refined = file.get("fallback_enabled"), file.get("fallback")
        if path == ("fallback",) and value is not None and enabled not in (None, value != "never"):
            return [store.Edit(path=("fallback_enabled",), value=value != "never")]
        if path == ("fallback_enabled",) and refined is not None and value is not (refined != "never"):
            return [store.Edit(path=("fallback",), remove=True)]
        return []

    def unset(self, key: str | KeyPath) -> bool:
        """Take one setting out of the file, so that its default counts; `save` writes that.

        Returns:
            Whether the file had it.
        """
        path = split_key(key)
        had = any(lookup(layer.values, path) is not MISSING for layer in self._layers[1:3])
        if had:
            self._stage(store.Edit(path=path, remove=True))
        return had

    def set_backend(self, name: str) -> None:
        """Prefer this backend; `save` writes it.

        Args:
            name: The backend's name.
        """
        self.set("preferred_backend", name)

    def reset_to_defaults(self) -> None:
        """Return every setting to its default; `save` writes that, and keeps a copy of the old file."""
        self._edits, self._reset = [], True
        self._forget()

    def save(self) -> store.Saved:
        """Write the changes, and only these, into the file as it is now.

        The file is read again under a lock that every writer takes, so that two programs which change
        different settings at once both succeed. A broken file is first copied to a name of its own.

        Raises:
            ConfigError: The file can't be written; it is as it was.
        """
        saved = store.save(self.path, self._edits, reset=self._reset)
        if saved.set_aside is not None and not self._reset:
            _log_warning(f"the settings file as it was is kept as {saved.set_aside}", self._paths)
        self.load()
        return saved

    def _stage(self, edit: store.Edit) -> None:
        self._edits.append(edit)
        self.__dict__.pop("_layers", None)

    def _forget(self) -> None:
        for name in ("_file", "_layers"):
            self.__dict__.pop(name, None)

    def __repr__(self) -> str:
        return f"ConfigManager({str(self.path)!r}, {len(self._edits)} unsaved changes)"


def _nested(overrides: Mapping[str, Any]) -> dict[str, Any]:
    joined: dict[str, Any] = {}
    for key, value in overrides.items():
        if isinstance(value, Mapping):
            joined = merge(joined, {key: _nested(value)})
        elif value is not None:
            place(joined, split_key(key), value)
    return joined


def _log_warning(text: str, paths: Paths) -> None:
    from modelplug.logs import get_logger

    get_logger("config", paths=paths).warning(text)
