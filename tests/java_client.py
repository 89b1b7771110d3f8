"""Java programs of others for the tests: compiled and run on Kafka's own jars and Apicurio's serializers. Holds no test."""

import subprocess
from pathlib import Path

from roost.broker import KafkaInstall

_LIBS = Path(__file__).resolve().parents[1] / ".cache" / "java" / "libs"
_COMPILER = "org.eclipse.jdt.internal.compiler.batch.Main"
# short programs, which end sooner when little is compiled
_FLAGS = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Dfile.encoding=UTF-8", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn")


class JavaClient:
    """Compiles into one folder, and runs what is there or in a jar. Its jars came with the registry: see `tests.apicurio.fetch`."""

    def __init__(self, kafka: KafkaInstall, folder: Path) -> None:
        """Take the jars of an installed Kafka, and a folder for classes; starts nothing."""
        self._java = kafka.java
        self._jars = [jar for libs in (_LIBS, kafka.jars_dir / "libs") for jar in sorted(libs.glob("*.jar"))]
        self._folder = folder

    def compile(self, source: Path) -> None:
        """Compile one file by a compiler that is a jar itself: a Java runtime need not have one."""
        path = ":".join(map(str, self._jars))
        self.run(_COMPILER, "-17", "-encoding", "UTF-8", "-proc:none", "-cp", path, "-d", str(self._folder), str(source))

    def run(self, program: str, *arguments: str) -> str:
        """Run a class to its end and return what it printed."""
        path = ":".join(map(str, (self._folder, *self._jars)))
        done = subprocess.run(
            [self._java, *_FLAGS, "-cp", path, program, *arguments], capture_output=True, text=True, check=False, timeout=120
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout
