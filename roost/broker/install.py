"""Where Kafka's jars and a Java are, and the command that runs a class of theirs. Runs nothing."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from schemas.errors import BrokerUnavailable

__all__ = ["KafkaInstall"]


@dataclass(frozen=True)
class KafkaInstall:
    """Where Kafka's jars and a Java to run them are.

    Attributes:
        jars_dir: folder with `libs/*.jar`, and `kafka.jsa` if `make setup` has made the class archive.
        java: the java program, a path or a name on the PATH.
    """

    jars_dir: Path
    java: str = "java"

    @property
    def archive(self) -> Path:
        """The class-data archive: with it a broker starts in about 60% of the time. Optional."""
        return self.jars_dir / "kafka.jsa"

    def command(self, main_class: str, *jvm_flags: str) -> list[str]:
        """Return the argument list that runs `main_class` on the jars.

        Raises:
            BrokerUnavailable: no jars, or no java.
        """
        # Sorted and resolved: a class archive is only valid for the very classpath it was made with.
        jars = sorted((self.jars_dir / "libs").resolve().glob("*.jar"))
        if not jars:
            raise BrokerUnavailable(f"no Kafka jars in {self.jars_dir / 'libs'}; run `make setup`")
        java = shutil.which(self.java)
        if java is None:
            raise BrokerUnavailable(f"no Java at {self.java!r}; install Java 17 or later, or set JAVA_HOME to one")
        archive = [f"-XX:SharedArchiveFile={self.archive}", "-Xlog:disable"] if self.archive.is_file() else []
        return [java, *jvm_flags, *archive, "-cp", ":".join(map(str, jars)), main_class]
