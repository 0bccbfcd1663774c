"""The guard's composition root."""

import asyncio
import sys
from pathlib import Path

import structlog
from faststream.asgi import AsgiFastStream

from tiermesh_budget.adapters.books import RedisBooks
from tiermesh_budget.adapters.epochs import Epochs
from tiermesh_budget.adapters.grants import KafkaGrants
from tiermesh_budget.adapters.ledger import LedgerReader, Outbox
from tiermesh_budget.adapters.parked import KafkaParking, ParkedIndex
from tiermesh_budget.adapters.prices import Prices
from tiermesh_budget.decide import EffectiveLedger, ParkingLot
from tiermesh_budget.decide.scopes import limit_scope
from tiermesh_budget.errors import BooksClosed
from tiermesh_budget.handlers import Admission, Attendant, GuardHandlers
from tiermesh_budget.ports import Books
from tiermesh_chassis.clock import now_ms
from tiermesh_chassis.config import MeshConfig, load_config
from tiermesh_chassis.delivery import Lane
from tiermesh_chassis.errors import ConfigError, TransientError
from tiermesh_chassis.retry_policy import RetryPolicy
from tiermesh_chassis.running import run_service
from tiermesh_chassis.service import Boot, Service
from tiermesh_contracts.brokers import EMBEDDED
from tiermesh_contracts.escalations import Escalation, Outcome
from tiermesh_contracts.topics import ESCALATIONS, OUTCOMES

log = structlog.get_logger(__name__)

NAME = "budget-guard"
NEEDS_STORE = True
WATCH_S = 1.0

UNTIL_BOOKED = RetryPolicy(attempts_max=100_000)
"""What may have money behind it is never given up: it waits for store and brokers, days if it must."""


def create_app(boot: Boot) -> AsgiFastStream:
    if boot.config.providers and not any(b.scope == "org" for b in boot.config.budgets):
        raise ConfigError(
            f"{boot.env.config}: providers without a [[budgets]] of scope = 'org': nothing may be spent"
        )
    service = Service(NAME, boot)
    org, limits = boot.config.org, boot.config.limits
    store = service.store()
    ledger = EffectiveLedger()
    reader = LedgerReader(boot.env.kafka, boot.traits, org, ledger)
    outbox = Outbox(store, service.publisher, org, ledger)
    epochs = Epochs(store, service.publisher, org, ledger, reader, ledger_is_volatile=boot.traits == EMBEDDED)
    books = RedisBooks(store, org, ledger, epochs.closed_why, on_entry=outbox.kick, on_closed=epochs.close)
    lot = ParkingLot(limits.parked_bytes_per_tenant_max)
    index = ParkedIndex(boot.env.kafka, boot.traits, lot, boot.env.instance)
    parking = KafkaParking(service.publisher, org)
    admission = Admission(
        books, reader, Prices(boot.config), KafkaGrants(service.publisher), service.results, now_ms
    )
    attendant = Attendant(lot, index, admission, parking, service.results, now_ms)
    handlers = GuardHandlers(admission, books, reader, parking, now_ms)

    async def keep_books() -> None:
        await _keep_limits(boot.env.config, boot.config, epochs, books)

    service.subscribe(
        ESCALATIONS,
        Lane(
            Escalation,
            handlers.on_escalations,
            limits.in_flight_max,
            retry=UNTIL_BOOKED,
            deadline_ends_retries=False,
        ),
    )
    service.subscribe(
        OUTCOMES,
        Lane(Outcome, handlers.on_outcomes, limits.in_flight_max, retry=UNTIL_BOOKED, owes_result=False),
    )
    for run in (reader.run, outbox.run, index.run, attendant.run, keep_books):
        service.in_background(run)

    async def books_open() -> str | None:
        return epochs.closed_why()

    async def index_assigned() -> str | None:
        return None if index.is_caught_up else "parked work is still being read"

    service.check("books", books_open)
    service.check("parked", index_assigned)
    return service.app()


async def _keep_limits(path: Path, config: MeshConfig, epochs: Epochs, books: Books) -> None:
    """Open the books, put the configured limits in force, and again whenever the file changes."""
    seen, applied = None, False  # the file may have changed since it was read for the start
    while True:
        if epochs.closed_why() is not None:
            await _open(epochs)
        if not applied:
            applied = await _apply(config, books)
        await asyncio.sleep(WATCH_S)
        if (stamp := _stamp(path)) != seen:
            seen = stamp
            try:
                config, applied = load_config(path), False
            except ConfigError as error:
                log.warning("the changed configuration is not used", error=str(error))


async def _open(epochs: Epochs) -> None:
    try:
        await epochs.open()
    except TransientError as error:
        log.warning("the books are not open yet", error=str(error))


async def _apply(config: MeshConfig, books: Books) -> bool:
    limits = [(limit_scope(b.scope), b.window.value, b.limit_usd_nanos) for b in config.budgets]
    try:
        await books.set_limits(limits)
    except (BooksClosed, TransientError) as error:
        log.warning("limits not in force yet", error=str(error))
        return False
    return True


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size


def main() -> None:
    sys.exit(run_service(NAME, create_app, needs_store=NEEDS_STORE))
