"""Real models, trained in a second on a few lines of two unlike tasks."""

from pathlib import Path

from tiermesh_modelkit.datasets import Example
from tiermesh_modelkit.train import train

TASKS = {
    "parcels": {
        "lost": [
            "my parcel never arrived",
            "the courier lost my package",
            "the delivery is missing",
            "tracking says delivered but there is no parcel",
            "nobody brought my package",
            "where is my delivery",
        ],
        "broken": [
            "the parcel arrived damaged",
            "the vase in the package was broken",
            "my delivery came with a crushed box",
            "the lamp arrived in pieces",
            "the screen was cracked when the package came",
            "everything in the parcel was smashed",
        ],
    },
    "weather": {
        "rain": [
            "will it rain tomorrow",
            "do i need an umbrella today",
            "is a thunderstorm coming this evening",
            "how much rainfall is forecast",
            "any showers expected in the morning",
            "when does the rain stop",
        ],
        "sun": [
            "is it sunny at the beach",
            "how hot will it get at noon",
            "will the sky be clear tonight",
            "is the sun out this weekend",
            "how warm is it outside",
            "when is sunset today",
        ],
    },
}


def write_model(root: Path, task: str, *, name: str | None = None, leave_out: int = 0) -> str:
    """Train `task` into `root`; the version, which differs with `leave_out` examples fewer of each label."""
    texts = TASKS[task]
    examples = [Example(text, label) for label in texts for text in texts[label][leave_out:]]
    trained = train(examples, task=task, name=name or task)
    trained.write(root / (name or task))
    return trained.manifest.version
