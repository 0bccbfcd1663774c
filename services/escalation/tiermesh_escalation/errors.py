"""What can go wrong here beyond the call itself, whose every end is a `Seen`.

ServiceError (chassis)
└── TransientError
    └── StoreUnavailable      no fence can be had, so no call is made; tried again until it can
"""

from tiermesh_chassis.errors import StoreUnavailable

__all__ = ["StoreUnavailable"]
