"""Run the script of docker-compose.yml's `quickstart` with a fake `uq4ct` that records its arguments."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from tests.command_line import check_command
from tests.docker.compose import SERVICES, environment_of, image_of, script_of
from uq4ct.service.access.keys import Scope
from uq4ct.training.recipes.shipped import find_recipe
from uq4ct.training.run_config import load_run_config
from uq4ct.training.runs.resume_point import RESUME_FILE


def test_the_keys_are_written_by_the_quickstart_and_read_by_the_service() -> None:
    file = Path(environment_of("service")["UQ4CT_API_KEYS_FILE"])
    assert file == Path(environment_of("quickstart")["UQ4CT_API_KEYS_FILE"])
    assert f"keys:{file.parent}" in SERVICES["quickstart"]["volumes"]
    assert f"keys:{file.parent}:ro" in SERVICES["service"]["volumes"]
    for name in ("quickstart", "service"):
        (creation,) = [step for step in image_of(name).values("RUN") if "useradd" in step]
        assert f"install --directory --owner=uq4ct --group=uq4ct --mode=0700 {file.parent} " in creation


class Quickstart:
    """The quickstart's script in the test's folders, with a fake `uq4ct` that records its arguments and makes files."""

    def __init__(self, folder: Path) -> None:
        self.store, self.keys, self.log = folder / "adapters", folder / "keys", folder / "calls"
        self.keys.mkdir()
        self._programs = folder / "programs"
        self._programs.mkdir()
        program = self._programs / "uq4ct"
        program.write_text(f"#!{sys.executable}\n{FAKE_COMMAND}")
        program.chmod(0o755)
        self.key, self.file = self.keys / "quickstart.key", self.keys / "keys.json"

    def run(self, *, failing: str = "") -> subprocess.CompletedProcess[str]:
        environment = {
            "PATH": f"{self._programs}:{os.defpath}",
            "UQ4CT_MODEL_STORE_DIR": str(self.store),
            "UQ4CT_API_KEYS_FILE": str(self.file),
            "CALLS": str(self.log),
            "FAILING": failing,
        }
        command = ["/bin/sh", "-euc", script_of("quickstart", "command")]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    def calls(self) -> list[str]:
        """The verbs called since the last call of this method, such as `train`."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        self.log.unlink(missing_ok=True)
        for line in lines:
            check_command(shlex.split(line))
        return [shlex.split(line)[1] for line in lines]


FAKE_COMMAND = """
import os, pathlib, shlex, sys
with open(os.environ["CALLS"], "a") as calls:
    print(shlex.join(["uq4ct", *sys.argv[1:]]), file=calls)
command = sys.argv[1]
if command == "publish":
    folder = pathlib.Path(os.environ["UQ4CT_MODEL_STORE_DIR"], "quickstart")
    folder.mkdir(parents=True)
    (folder / "aliases.json").touch()
if command == "keys":
    pathlib.Path(sys.argv[sys.argv.index("--file") + 1]).write_text("hashes")
    print("uq4ct_key")
sys.exit(command == os.environ["FAILING"])
"""


@pytest.fixture
def quickstart(tmp_path: Path) -> Quickstart:
    return Quickstart(tmp_path)


def test_the_first_start_trains_publishes_and_makes_a_key_and_the_second_nothing(quickstart: Quickstart) -> None:
    done = quickstart.run()
    assert done.returncode == 0, done.stderr
    assert quickstart.calls() == ["train", "publish", "keys"]
    assert (quickstart.key.read_text(), quickstart.file.read_text()) == ("uq4ct_key\n", "hashes")
    assert quickstart.key.stat().st_mode & 0o777 == 0o600
    assert sorted(quickstart.keys.iterdir()) == [quickstart.file, quickstart.key]
    assert done.stdout == f"the key: docker compose exec service cat {quickstart.key}\n"
    again = quickstart.run()
    assert (again.returncode, again.stdout, quickstart.calls()) == (0, done.stdout, [])


@pytest.mark.parametrize(
    ("failing", "rest"), [("train", ["train", "publish", "keys"]), ("publish", ["keys"]), ("keys", ["keys"])]
)
def test_a_start_that_failed_fails_and_the_next_goes_on_from_there(
    quickstart: Quickstart, failing: str, rest: list[str]
) -> None:
    assert quickstart.run(failing=failing).returncode != 0
    assert not quickstart.file.exists()
    assert quickstart.calls()[-1] == failing
    assert quickstart.run().returncode == 0
    assert quickstart.calls() == rest
    assert quickstart.key.read_text() == "uq4ct_key\n"


def test_adapters_and_keys_of_the_operators_own_stay_as_they_are(quickstart: Quickstart) -> None:
    (quickstart.store / "other").mkdir(parents=True)
    (quickstart.store / "other" / "aliases.json").touch()
    quickstart.file.write_text("mine")
    assert quickstart.run().returncode == 0
    assert quickstart.calls() == []
    assert quickstart.file.read_text() == "mine"


def test_the_quickstart_publishes_the_run_that_it_trained() -> None:
    train, publish, new = [
        shlex.split(line.split(" > ")[0])
        for line in script_of("quickstart", "command").splitlines()
        if line.strip().startswith("uq4ct ")
    ]
    recipe = train[train.index("train") + 1]
    name = yaml.safe_load(find_recipe(recipe).read_text(encoding="utf-8"))["name"]
    assert publish[publish.index("publish") + 1] == f"runs/{name}"
    scopes = new[new.index("--scopes") + 1].split(",")
    assert {Scope(one) for one in scopes} == {Scope.PREDICT, Scope.FEEDBACK}


def test_a_training_that_is_killed_at_half_has_something_to_resume() -> None:
    config = load_run_config(find_recipe("quickstart"))
    assert config.data.train_limit is not None
    steps = config.data.train_limit // config.training.batch_questions * config.training.epochs
    assert config.training.resume_point_steps <= steps // 5


@pytest.mark.slow
def test_a_killed_training_is_resumed(tmp_path: Path) -> None:
    """With the script's own command, and fewer questions: killed after its first resume point, then run again."""
    train = next(line for line in script_of("quickstart", "command").splitlines() if "uq4ct train" in line)
    small = [f"data.train_limit={12 * 16}", "data.calibration_limit=60", "data.test_limit=60"]
    options = [word for override in small for word in ("--set", override)]
    command = [sys.executable, "-m", *shlex.split(train), *options]
    run = tmp_path / "runs" / "quickstart"
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 300
        while not (run / RESUME_FILE).exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "resumed at step 10 of 12" in done.stdout
    assert len((run / "steps.jsonl").read_text().splitlines()) == 12
