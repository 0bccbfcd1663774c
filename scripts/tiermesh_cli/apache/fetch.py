"""Apache Kafka's jars, fetched once by Maven into a folder outside the project."""

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from tiermesh_cli.output import CommandFailed

POM: Final = Path(__file__).with_name("pom.xml")
JAVA_MAJOR_MIN: Final = 17
FETCH_TIMEOUT_S: Final = 600.0
JAVA_TIMEOUT_S: Final = 30.0
_SERVER_JAR: Final = "kafka_2.13-*.jar"


class KafkaMissing(CommandFailed):
    """Apache Kafka cannot be had on this machine; one line that says what to install."""


def kafka_home() -> Path:
    """Where the jars are or will be, in `libs/`: `TIERMESH_KAFKA_HOME`, else a folder named after the pom.

    An unpacked distribution of Apache Kafka has the same layout and is taken as it is.
    """
    named = os.environ.get("TIERMESH_KAFKA_HOME")
    if named:
        return Path(named).expanduser().absolute()
    key = hashlib.sha256(POM.read_bytes()).hexdigest()[:16]
    return Path("~/.cache/tiermesh").expanduser() / f"kafka-{key}"


def java_binary() -> Path:
    """`$JAVA_HOME/bin/java`, else the one on PATH. Raises `KafkaMissing` where none is there or it is too old."""
    home = os.environ.get("JAVA_HOME")
    found = shutil.which("java", path=str(Path(home) / "bin") if home else None)
    if found is None:
        where = f"in JAVA_HOME={home}" if home else "on PATH"
        raise KafkaMissing(f"Apache Kafka needs Java {JAVA_MAJOR_MIN}, and there is no java {where}: install a JRE")
    asked = subprocess.run([found, "-version"], capture_output=True, text=True, check=False, timeout=JAVA_TIMEOUT_S)
    version = re.search(r'version "(\d+)', asked.stderr)
    if version is None or int(version[1]) < JAVA_MAJOR_MIN:
        said = (asked.stderr.splitlines() or ["nothing"])[0]
        raise KafkaMissing(f"Apache Kafka needs Java {JAVA_MAJOR_MIN} or newer; {found} says {said}")
    return Path(found)


def fetch() -> Path:
    """The folder of jars, fetched now if it is not there. Blocks, for seconds or minutes on the first call.

    Two processes may fetch at once: the first to finish gives the folder its name. Raises `KafkaMissing`.
    """
    home = kafka_home()
    libs = home / "libs"
    if any(libs.glob(_SERVER_JAR)):
        return libs
    home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home, prefix="fetching-") as folder:
        fresh = Path(folder) / "libs"
        _copy_dependencies(fresh)
        try:
            fresh.rename(libs)
        except OSError as error:
            if not any(libs.glob(_SERVER_JAR)):
                raise KafkaMissing(f"cannot write Apache Kafka to {libs}: {error.strerror}") from error
    return libs


def _copy_dependencies(folder: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise KafkaMissing(
            "Apache Kafka is fetched by Maven, and there is no mvn on PATH: install Maven, "
            "or set TIERMESH_KAFKA_HOME to an unpacked Apache Kafka 4"
        )
    # -C refuses a jar whose checksum is not the repository's.
    goal = ("dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={folder}")
    argv = [maven, "-q", "-B", "-C", "-f", str(POM), *goal]
    try:
        done = subprocess.run(
            argv, capture_output=True, text=True, check=False, timeout=FETCH_TIMEOUT_S, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired as error:
        raise KafkaMissing(f"Maven did not fetch Apache Kafka within {FETCH_TIMEOUT_S:g} s: try again") from error
    if done.returncode != 0:
        lines = [line for line in (done.stdout + done.stderr).splitlines() if "ERROR" in line]
        raise KafkaMissing(f"Maven could not fetch Apache Kafka: {lines[0] if lines else 'it says nothing'}")
