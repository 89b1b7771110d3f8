"""The command line's promises: exit codes, one JSON object, sentences instead of traces."""

import errno
import json
import signal
import socket
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import NoReturn

import pytest
import typer

from roost import cli
from roost.cli import output
from roost.cli.commands import COMMANDS
from roost.settings import child_environment
from schemas.errors import CompareAndSetLost, Refused, RoostError
from schemas.registry.remote import RemoteRegistry
from tests.bundles import publish_bundle


@pytest.fixture
def no_patience(impatient: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have commands and the doctor look for a broker once."""
    for limit in ("roost.cli.target._BROKER_S", "roost.doctor.examine._BROKER_S"):
        monkeypatch.setattr(limit, 0.0)


@pytest.mark.parametrize(
    ("error", "code"),
    [(Refused("a gate"), 3), (CompareAndSetLost("somebody else"), 4), (RoostError("anything else"), 1)],
)
def test_an_error_ends_the_command_with_the_exit_code_of_its_kind(
    error: RoostError, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Scripts of operators branch on it: 3 is a gate or limit, 4 a lost compare-and-set."""
    _fail_with(error, monkeypatch)
    assert cli.run([]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == f"roost: {error}\n"


@pytest.mark.usefixtures("no_patience")
@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        ("dlq list --bootstrap 127.0.0.1:1", 1, "no broker at 127.0.0.1:1"),
        ("models show nosuch --registry nowhere", 2, "has no alias 'nosuch'"),
        ("query --user ann --nonsense", 2, "No such option: --nonsense"),
        ("nosuch", 2, "No such command 'nosuch'"),
        ("index inspect --folder nowhere", 1, "nowhere is no folder"),
        (f"train export {'0' * 16} --to elsewhere --registry nowhere", 1, "manifest.json cannot be read"),
    ],
)
def test_of_a_failure_too_json_prints_one_object(words: str, code: int, sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A script that reads stdout met the end of it, and had to read for people what went wrong."""
    assert cli.run([*words.split(), "--json"]) == code
    captured = capsys.readouterr()
    told = json.loads(captured.out)
    assert told["exit_code"] == code
    assert sentence in told["error"]
    assert captured.err


def test_what_fails_after_its_object_was_printed_prints_no_second_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A refused training prints what its gates measured; `roost up` where it is, and ends when its broker is lost."""

    def app(*_: object, **__: object) -> NoReturn:
        output.emit({"figures": 1}, as_json=True, show=lambda: None)
        raise Refused("a gate")

    monkeypatch.setattr(cli, "app", app)
    assert cli.run(["train", "pretrain", "--json"]) == 3
    assert json.loads(capsys.readouterr().out) == {"figures": 1}


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_command_that_is_interrupted_unwinds_and_says_so_by_its_exit_code(
    sent: signal.Signals, code: int, tmp_path: Path
) -> None:
    """A script tells an operator's Ctrl-C from a failure; and a trace is no answer to either."""
    words = ["-m", "roost", "doctor", "--bootstrap", "127.0.0.1:1", "--data-dir", str(tmp_path)]
    with subprocess.Popen([sys.executable, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        # its first line: now it waits for a broker that is not there
        assert process.stdout.readline()
        process.send_signal(sent)
        _, said = process.communicate(timeout=60)
    assert (process.returncode, "Traceback" in said) == (code, False)


@pytest.mark.parametrize(
    "words",
    [
        "query --user ann --node nonsense",
        "query --user ann --node ftp://x:y",
        "query --user ann --node http://",
        "explain --user ann --candidate t:1 --bootstrap nonsense",
        "explain --user ann --candidate t:1 --bootstrap 127.0.0.1:1 --schema-registry localhost:8081",
        "explain --user ann --candidate nokind --bootstrap 127.0.0.1:1",
        "rollout status --bootstrap 127.0.0.1",
        "rollout status --bootstrap 127.0.0.1:9092,x",
        "topics check --bootstrap nonsense",
        "schemas register --registry nonsense",
        "publish candidates -",
        "replay movielens-100k --speed -1",
        "dlq show nosuch",
        "dlq replay nosuch",
        "dlq show tweets --limit 0",
        "dlq show tweets --limit -1",
    ],
)
def test_what_cannot_be_an_address_or_a_topic_is_a_usage_error(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Told at once: a client that tries such an address says half a minute later that nobody is there, or ends in a trace."""
    assert cli.run(words.split()) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Invalid value" in captured.err


@pytest.mark.usefixtures("no_patience")
def test_a_broker_that_is_away_is_named_in_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    """Of an operator's commands each says so the same way, whatever it would have read first."""
    for words in ("rollout status", "dlq list", "users traces ann", "replay movielens-100k"):
        assert cli.run([*words.split(), "--bootstrap", "127.0.0.1:1"]) == 1
        assert "no broker at 127.0.0.1:1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "roost: No space left on device; make room there\n"),
        (PermissionError(errno.EACCES, "Permission denied", "/x/y"), "roost: /x/y: Permission denied; name another"),
    ],
)
def test_a_full_disk_or_a_missing_right_is_a_sentence(
    error: OSError, says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It comes from any line that writes; a trace of thirty lines hides which disk it is."""
    _fail_with(error, monkeypatch)
    assert cli.run([]) == 1
    assert capsys.readouterr().err.startswith(says)


@pytest.mark.parametrize("recipe", ["pretrain", "finetune"])
def test_a_folder_that_bundles_cannot_be_published_in_is_told_before_the_training(
    recipe: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A training takes minutes; that its bundle has no place to go was told at its end."""
    (tmp_path / "file").write_text("")
    words = ["train", recipe, "--registry", str(tmp_path / "file" / "registry"), "--bootstrap", "127.0.0.1:1"]
    assert cli.run(words) == 1
    assert "no bundle can be published in" in capsys.readouterr().err


def test_a_bucket_that_is_not_there_is_told_before_the_training(capsys: pytest.CaptureFixture[str]) -> None:
    """As a folder that cannot be written to."""
    assert cli.run(["train", "pretrain", "--registry", "memory://no-bucket/bundles", "--bootstrap", "127.0.0.1:1"]) == 1
    assert "there is no no-bucket; create it" in capsys.readouterr().err


def test_models_are_listed_shown_and_verified_behind_a_url(
    remote: RemoteRegistry, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Operators ask the object store as they asked the folder."""
    monkeypatch.setenv("ROOST_REGISTRY_CACHE", str(remote.folder))
    bundle = publish_bundle(remote)
    for words in (["list"], ["show", bundle], ["verify", bundle]):
        assert cli.run(["models", *words, "--registry", remote.url, "--json"]) == 0
        assert bundle in capsys.readouterr().out


def test_an_error_of_the_system_that_nobody_can_mend_keeps_its_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bad file descriptor is a fault of ours: whoever reports it needs the line."""
    _fail_with(OSError(errno.EBADF, "Bad file descriptor"), monkeypatch)
    with pytest.raises(OSError, match="Bad file descriptor"):
        cli.run([])


def _fail_with(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    app = typer.Typer()

    @app.command()
    def fail() -> None:
        raise error

    monkeypatch.setattr(cli, "app", app)


def test_a_wrong_word_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, as every shell tool."""
    assert cli.run(["no-such-command"]) == 2
    assert "no-such-command" in capsys.readouterr().err


def test_json_is_one_object_and_nothing_else(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Programs parse standard output whole."""
    assert cli.run(["models", "list", "--registry", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"surface": "home-timeline", "bundles": [], "aliases": {}}


def test_a_surface_that_is_nowhere_is_an_error_that_names_those_there_are(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """An empty list of a mistyped name looks like bundles that are gone."""
    publish_bundle(tmp_path, surface="unconfigured")
    words = ["models", "list", "--registry", str(tmp_path), "--surface"]
    assert cli.run([*words, "nope"]) == 1
    said = capsys.readouterr().err
    assert "there is no surface 'nope', but home-timeline, " in said
    assert "unconfigured" in said
    assert [cli.run([*words, there]) for there in ("unconfigured", "news-push")] == [0, 0]


def test_a_figure_that_is_not_a_number_is_not_printed_as_json() -> None:
    """NaN is no JSON: other languages would refuse the whole object."""
    with pytest.raises(ValueError, match="JSON"):
        output.emit({"auc": float("nan")}, as_json=True, show=lambda: None)


def test_without_a_deployment_a_command_says_how_to_start_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first thing a new user forgets."""
    monkeypatch.delenv("KAFKA_BOOTSTRAP_SERVERS", raising=False)
    assert cli.run(["rollout", "status", "--data-dir", str(tmp_path)]) == 1
    assert "roost up" in capsys.readouterr().err


def test_a_study_of_one_day_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    """On day 1 all lines of towers are the same: refused before a world of minutes is played."""
    assert cli.run(["paper", "continual", "--days", "1", "--json"]) == 2
    captured = capsys.readouterr()
    assert "--days" in json.loads(captured.out)["error"]
    assert "--days" in captured.err
    assert cli.run(["paper", "arms", "--share", "100", "--json"]) == 2


@pytest.mark.parametrize("number", ["nan", "inf", "-inf"])
@pytest.mark.parametrize(
    "words",
    [
        "down --timeout-s",
        "rollout start 0123456789abcdef --wait --timeout-s",
        "query --user ann --max-age-s",
        "topics check --wait-s",
        "paper sweep --rate .1 --rate",
        "train finetune --replay",
        "train finetune --checkpoint-every",
    ],
)
def test_a_number_without_end_is_a_usage_error(words: str, number: str, capsys: pytest.CaptureFixture[str]) -> None:
    """No comparison finds nan out of range: a training replayed nan times the loss, and a command waited for ever."""
    *command, option = words.split()
    assert cli.run([*command, f"{option}={number}", "--json"]) == 2
    assert option in json.loads(capsys.readouterr().out)["error"]


@pytest.mark.parametrize("command", ["pretrain", "finetune"])
def test_a_seed_below_zero_is_a_usage_error(command: str) -> None:
    """No generator takes one: refused before the topics are read, not after."""
    assert cli.run(["train", command, "--seed", "-1", "--bootstrap", "127.0.0.1:1"]) == 2


def test_an_arm_that_is_no_bundle_is_a_usage_error() -> None:
    """A name that no answer can have would leave an empty window, and look like a day without traffic."""
    assert cli.run(["train", "finetune", "--served-by", "../3f9a", "--bootstrap", "127.0.0.1:1"]) == 2


@pytest.mark.parametrize(
    "command",
    [
        "up",
        "demo",
        "publish",
        "query",
        "rollout start",
        "rollout configure",
        "topics create",
        "topics check",
        "train pretrain",
        "train finetune",
        "paper continual",
        "paper gates",
        "paper arms",
        "bench canary",
        "bench train",
        "paper freshness",
        "models list",
        "dlq show",
        "dlq replay",
        "schemas register",
        "schemas check",
    ],
)
def test_every_command_helps_with_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A person copies the example before reading the options."""
    assert cli.run([*command.split(), "--help"]) == 0
    assert "Example: roost" in capsys.readouterr().out


@pytest.mark.parametrize("word", COMMANDS)
def test_a_command_offers_no_completion_of_its_own(word: str) -> None:
    """`roost --install-completion` is for all of them: a second one, of one word, would complete nothing."""
    offered = {option for parameter in COMMANDS[word].load(word).params for option in parameter.opts}
    assert not {option for option in offered if "completion" in option}


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("roost ro", "rollout"),
        ("roost rollout pro", "promote"),
        ("roost dlq replay --dr", "--dry-run"),
        ("roost up --de", "--detach"),
    ],
)
def test_a_shell_completes_commands_and_options(words: str, completed: str) -> None:
    """Commands are imported only when they are called: a completion that does not import them would know the first word alone."""
    asked = {"_ROOST_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}
    done = subprocess.run(
        [sys.executable, "-m", "roost"], env=child_environment(asked), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.split(), done.stderr) == (0, [completed], "")


@pytest.mark.parametrize("word", COMMANDS)
def test_the_table_of_commands_says_what_each_command_says_of_itself(word: str) -> None:
    """The help is drawn from the table without importing anything: it must not drift from the commands."""
    entry = COMMANDS[word]
    command = entry.load(word)
    assert command.name == word
    assert (command.help or "").splitlines()[0] == entry.line


def test_help_imports_nothing_that_a_command_needs() -> None:
    """`roost --help` is the first thing anybody types; with Kafka, HTTP and numpy it took seconds on a busy machine."""
    heavy = ("numpy", "confluent_kafka", "httpx", "pydantic", "torch", "faust", "onnxruntime")
    code = (
        f"import sys; from roost import cli; cli.run(['--help']); sys.exit(' '.join(m for m in {heavy} if m in sys.modules) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "replay" in done.stdout


@pytest.mark.parametrize(
    ("words", "package", "extra"),
    [("embed", "onnxruntime", "streams"), ("serve", "fastapi", "serving"), ("train pretrain", "torch", "trainer")],
)
def test_a_command_whose_extra_is_not_installed_says_which(words: str, package: str, extra: str) -> None:
    """The base install has every command in its help; most end in an import that fails, thirty lines deep."""
    code = f"import sys; sys.modules[{package!r}] = None; from roost import cli; sys.exit(cli.run({words.split()}))"
    environment = child_environment({"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"})
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"{package} is not installed; `pip install 'roost[{extra}]'`" in done.stderr
    assert "Traceback" not in done.stderr


def test_every_extra_that_a_command_names_is_one_of_the_distribution() -> None:
    """`pip install 'roost[…]'` passes over an extra that there is not, with a warning."""
    root = Path(__file__).parents[3]
    there = tomllib.loads((root / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = {extra for entry in COMMANDS.values() for extra in entry.extras.split(",") if extra}
    assert named <= there.keys()
    assert len(named) > 3


def test_a_wrong_setting_is_a_sentence_that_names_its_variable(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever runs a container sees its last line only."""
    monkeypatch.setenv("ROOST_CHECKPOINT_INTERVAL_S", "-1")
    assert cli.run(["embed"]) == 1
    assert capsys.readouterr().err.startswith(
        "roost: a setting is wrong: ROOST_CHECKPOINT_INTERVAL_S input should be greater than 0"
    )


@pytest.mark.parametrize("words", ["bench freshness", "bench swap", "bench recovery", "demo swap"])
def test_a_wrong_broker_is_a_sentence_where_a_machine_of_its_own_would_start(
    words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It was a trace of what reads settings."""
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "nonsense")
    assert cli.run(words.split()) == 1
    assert capsys.readouterr().err.startswith("roost: a setting is wrong: KAFKA_BOOTSTRAP_SERVERS")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(None, "cannot be read"), ("[home-timeline]\nspeed = 3\n", "unknown keys ['speed']"), ("nonsense", "is wrong")],
)
def test_a_wrong_surfaces_file_is_a_sentence_before_anything_starts(
    content: str | None, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With `up --detach` the trace would be in a log that nobody has looked for yet."""
    surfaces = tmp_path / "surfaces.toml"
    if content is not None:
        surfaces.write_text(content)
    assert cli.run(["up", "--detach", "--surfaces", str(surfaces), "--data-dir", str(tmp_path / "data")]) == 1
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["--refresh", "hourly"], 3, "every=30s"),
        (["--dim", "128"], 3, "train a bundle"),
        (["--recency-window-s=60"], 3, "the retention of its bundles' topics"),
        (["--sruface", "x", "--refresh", "threshold"], 2, "--sruface"),
        ([], 2, "--refresh"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_before_anything_is_sent(
    words: list[str], code: int, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """No broker is there: whoever mistypes is told at once, and what would do instead."""
    assert cli.run(["rollout", "configure", "--bootstrap", "127.0.0.1:1", *words]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert sentence in captured.err


def test_watching_and_json_exclude_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    """One object cannot be refreshed every second."""
    assert cli.run(["rollout", "status", "--watch", "--json", "--bootstrap", "127.0.0.1:1"]) == 2
    assert json.loads(capsys.readouterr().out)["exit_code"] == 2


@pytest.mark.parametrize(
    "words",
    [["users", "delete", ""], ["users", "delete", "u:1", "--author", ""], ["authors", "takedown", ""], ["users", "traces", ""]],
)
def test_nobody_is_erased_by_an_empty_id(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A variable that a script forgot to set: every tweet that names no author would be taken down."""
    assert cli.run([*words, "--bootstrap", "127.0.0.1:1"]) == 2
    assert "id is empty" in capsys.readouterr().err


@pytest.mark.parametrize("ramp", ["", "one", "1%,nan", "1%,inf", "1e300,2", "1%,101%", "-5%,5%"])
def test_a_ramp_that_is_no_list_of_shares_is_said_to_be_none(ramp: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Before anything is sent, and not with a traceback."""
    assert cli.run(["rollout", "canary", "a" * 16, "--ramp", ramp, "--bootstrap", "127.0.0.1:1"]) == 2
    assert "is not a list of shares" in " ".join(capsys.readouterr().err.split())


@pytest.mark.usefixtures("no_patience")
@pytest.mark.parametrize("address", ["nonsense", "localhost:8081", "http://[::1"])
def test_the_doctor_finds_an_address_of_a_schema_registry_that_is_none(
    address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever mistyped a setting asks the doctor: it must not die of it."""
    words = ["doctor", "--bootstrap", "127.0.0.1:1", "--data-dir", str(tmp_path), "--schema-registry", address, "--json"]
    assert cli.run(words) == 1
    found = {finding["check"]: finding for finding in json.loads(capsys.readouterr().out)["findings"]}
    assert "its address is none" in found["schema registry"]["sentence"]


def test_a_taken_port_of_the_console_is_told_by_what_chooses_another(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The node's setting, which the server once named whoever used it, would move the node and not the console."""
    monkeypatch.chdir(tmp_path)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert cli.run(["console", "--port", port, "--bootstrap", "127.0.0.1:1", "--registry", str(tmp_path)]) == 1
    assert "choose another by --port or ROOST_CONSOLE_PORT" in capsys.readouterr().err


@pytest.mark.parametrize("variable", ["ROOST_HTTP_PORT", "ROOST_CONSOLE_PORT", "ROOST_BROKER_PORT"])
def test_the_launcher_takes_its_ports_from_the_environment_too(
    variable: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The roles read the first two: a launcher that passed over them put node and console at other ports without a word."""
    monkeypatch.delenv("KAFKA_BOOTSTRAP_SERVERS", raising=False)
    for name in ("ROOST_HTTP_PORT", "ROOST_CONSOLE_PORT", "ROOST_BROKER_PORT"):
        monkeypatch.setenv(name, "0")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        monkeypatch.setenv(variable, port)
        monkeypatch.setattr("roost.machine.machine._KILLED_BEFORE_S", 0.0)
        assert cli.run(["up", "--data-dir", str(tmp_path)]) == 1
    assert f"cannot have port {port}" in capsys.readouterr().err


@pytest.mark.usefixtures("no_patience")
def test_the_doctor_without_a_broker_says_so_and_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One object for programs, whatever is wrong."""
    assert cli.run(["doctor", "--bootstrap", "127.0.0.1:1", "--data-dir", str(tmp_path), "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert [finding["check"] for finding in report["findings"] if finding["verdict"] == "wrong"] == ["broker"]


@pytest.mark.usefixtures("no_patience")
def test_the_doctor_looks_at_the_disk_that_nodes_write_snapshots_to(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is often one of its own: nodes of a full one start from the topics, which takes minutes."""
    words = ["doctor", "--bootstrap", "127.0.0.1:1", "--data-dir", str(tmp_path), "--json"]
    for named in ([], ["--snapshots", str(tmp_path / "snapshots")]):
        assert cli.run([*words, *named]) == 1
        found = {finding["check"]: finding["sentence"] for finding in json.loads(capsys.readouterr().out)["findings"]}
        assert ("disk of snapshots" in found) == bool(named)
    assert found["disk of snapshots"].startswith(f"{tmp_path}/snapshots has ")


@pytest.mark.parametrize(
    "words",
    [
        ["rollout", "freeze", "--revision", "9" * 20],
        ["rollout", "promote", "0" * 16, "--revision", "-1"],
        ["rollout", "freeze", "--surface", ""],
        ["rollout", "start", "0" * 16, "--reason", "x" * 1025],
        ["rollout", "canary", "0" * 16, "--ramp", "1%,5%", "--hold-s", "9" * 20],
        ["explain", "--user", "", "--candidate", "t:1"],
        ["explain", "--user", "", "--candidate", "t:1", "--at", "1"],
        ["explain", "--user", "u:1", "--candidate", "t:1", "--max-age-s", "-1"],
    ],
    ids=" ".join,
)
def test_what_no_record_or_request_can_hold_is_a_usage_error(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """It ended in a traceback, or as a failure of the broker's: here it is told before any is asked."""
    assert cli.run([*words, "--bootstrap", "127.0.0.1:1"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Traceback" not in captured.err
