"""What can go wrong in a handler, and what becomes of the record.

ServiceError
├── TransientError            tried again, within its attempts and its deadline
│   └── StoreUnavailable
├── PermanentError            dead letter at once, with its reason
└── StartError                the process ends with one clear line
    ├── ConfigError
    └── DependencyMissing
"""

from tiermesh_contracts.failures import DeadLetterReason


class ServiceError(Exception):
    pass


class TransientError(ServiceError):
    """It may work a moment later."""


class StoreUnavailable(TransientError):
    """The store did not answer, or answered that it cannot."""


class PermanentError(ServiceError):
    """Trying again cannot help."""

    def __init__(self, reason: DeadLetterReason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class StartError(ServiceError):
    """The service cannot start; the message says what to do."""


class ConfigError(StartError):
    """A setting is missing, unknown or out of bounds; the message names the key and where it stands."""


class DependencyMissing(StartError):
    """A broker, store or model folder is not there."""
