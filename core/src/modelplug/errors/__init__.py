"""Every error a user can meet, with its exit code, its cause and its advice.

All of them derive from `ModelplugError`. An error answers three questions, each an attribute: `what`
happened, `why`, and `advice`, which says what to type next. Further data lives in attributes of the
subclass, so that a program can act on an error without parsing text.
"""

from __future__ import annotations

from modelplug.errors.base import (
    EXIT_DONE,
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_NOTHING_SUITABLE,
    EXIT_USAGE,
    ModelplugError,
    NothingSuitableError,
    PluginError,
    UsageError,
)
from modelplug.errors.converting import (
    ConversionError,
    ConversionMismatchError,
    ConversionRefusedError,
)
from modelplug.errors.migrating import (
    AmbiguousKindError,
    BackupDamagedError,
    FutureVersionError,
    LockedError,
    MigrationError,
    MigrationLoopError,
    NoMigrationPathError,
    RecoveryConflictError,
    RecoveryNeededError,
    StaleFileError,
    StepFailedError,
    TransactionError,
    TransactionInterruptedError,
    UnknownArtifactError,
    UnknownFamilyError,
)
from modelplug.errors.model_files import (
    ModelFileError,
    ModelNotFoundError,
    NotAModelError,
    TruncatedModelError,
    UnsupportedFormatError,
)
from modelplug.errors.running import (
    BackendError,
    CapabilityError,
    ContextOverflowError,
    DoesNotFitError,
    GenerationCancelledError,
    UnsupportedParameterError,
    WorkerCrashedError,
    WorkerTimeoutError,
)
from modelplug.errors.settings import (
    ConfigError,
)

__all__ = [
    "EXIT_DONE",
    "EXIT_FAILED",
    "EXIT_INTERRUPTED",
    "EXIT_NOTHING_SUITABLE",
    "EXIT_USAGE",
    "AmbiguousKindError",
    "BackendError",
    "BackupDamagedError",
    "CapabilityError",
    "ConfigError",
    "ContextOverflowError",
    "ConversionError",
    "ConversionMismatchError",
    "ConversionRefusedError",
    "DoesNotFitError",
    "FutureVersionError",
    "GenerationCancelledError",
    "LockedError",
    "MigrationError",
    "MigrationLoopError",
    "ModelFileError",
    "ModelNotFoundError",
    "ModelplugError",
    "NoMigrationPathError",
    "NotAModelError",
    "NothingSuitableError",
    "PluginError",
    "RecoveryConflictError",
    "RecoveryNeededError",
    "StaleFileError",
    "StepFailedError",
    "TransactionError",
    "TransactionInterruptedError",
    "TruncatedModelError",
    "UnknownArtifactError",
    "UnknownFamilyError",
    "UnsupportedFormatError",
    "UnsupportedParameterError",
    "UsageError",
    "WorkerCrashedError",
    "WorkerTimeoutError",
]
