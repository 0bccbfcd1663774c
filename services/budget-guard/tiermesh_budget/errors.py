"""What stops the guard from moving money.

TransientError
└── BooksClosed           the store and the ledger do not agree yet: park, admit nothing
PermanentError
    ├── id_reused         the attempt's id was used before with another body
    └── unknown_reservation
"""

from tiermesh_chassis.errors import TransientError


class BooksClosed(TransientError):
    """Admission fails closed; the message says why."""
