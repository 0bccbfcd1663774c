"""What can be wrong with a model folder or with the examples a model is trained on.

    ModelError                 permanent: the same files give the same error again
    ├── ModelMissing           no model folder, or a file it names is not there
    ├── ManifestInvalid        manifest.json is not one of ours
    ├── HashMismatch           a file is not the one the manifest was written for
    ├── PathEscape             a name, link or tensor that leads outside the folder
    ├── ExamplesInvalid        training or evaluation examples; names the file and the line
    └── WeightsMissing         the encoder's weights are not installed; says the command

Each carries one line that says what to do.
"""


class ModelError(Exception):
    pass


class ModelMissing(ModelError):
    pass


class ManifestInvalid(ModelError):
    pass


class HashMismatch(ModelError):
    pass


class PathEscape(ModelError):
    pass


class ExamplesInvalid(ModelError):
    pass


class WeightsMissing(ModelError):
    pass
