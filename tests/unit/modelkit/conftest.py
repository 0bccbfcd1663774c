import shutil
from pathlib import Path

import pytest

from tiermesh_modelkit.datasets import Example
from tiermesh_modelkit.runtime import ClassifierModel
from tiermesh_modelkit.store import load_model
from tiermesh_modelkit.train import TrainedModel, train

TEXTS = {
    "charge": [
        "i was charged twice for one order",
        "two payments left my account for the same lamp",
        "why did you take the money from my card again",
        "duplicate payment on my bank statement",
        "my card shows the same charge two times",
        "you billed me twice, please give one payment back",
        "double billing on my credit card this month",
        "the same amount was debited twice from my bank",
    ],
    "parcel": [
        "where is my parcel",
        "the courier has not delivered my package yet",
        "tracking says my delivery is still in the warehouse",
        "when will the shipment arrive",
        "my package has been in transit for ten days",
        "no delivery today although the courier promised it",
        "the tracking number shows nothing at all",
        "has my order been shipped already",
    ],
    "password": [
        "i forgot my password",
        "the reset mail for my login never arrives",
        "cannot sign in, the password is wrong",
        "how do i choose a new password for my account",
        "reset link has expired before i could log in",
        "login refuses my password since yesterday",
        "send me another password reset link",
        "i do not remember how to sign in to my account",
    ],
}


@pytest.fixture(scope="session")
def examples() -> list[Example]:
    return [Example(text, label) for label, texts in TEXTS.items() for text in texts]


@pytest.fixture(scope="session")
def trained(examples: list[Example]) -> TrainedModel:
    return train(examples, task="support", name="support")


@pytest.fixture(scope="session")
def written(trained: TrainedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "support"
    trained.write(folder)
    return folder


@pytest.fixture(scope="session")
def model(written: Path) -> ClassifierModel:
    return load_model(written)


@pytest.fixture
def folder(written: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(written, tmp_path / "models" / "support"))
