"""uq4ct keys and the file that it writes."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.command_line import Done, uq4ct
from tests.service.access.key_holder import record
from uq4ct.service.access.clocks import Clocks
from uq4ct.service.access.key_ring import KeyRing
from uq4ct.service.access.keys import KeyFileError, add_key, hash_key, read_keys

ROOT = Path(__file__).parents[3]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def run(*arguments: object) -> Done:
    return uq4ct(["keys", *map(str, arguments)], env={"UQ4CT_API_KEYS_FILE": ""})


def new(file: Path, *arguments: str) -> str:
    """Run `keys new` successfully and return the printed key."""
    result = run("new", "--file", file, *arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_new_key_is_printed_once_and_its_hash_is_kept(file: Path) -> None:
    printed = new(file, "--scopes", "predict,feedback", "--tenant", "acme", "--id", "acme-1")
    key = printed.removesuffix("\n")
    assert printed == key + "\n"
    assert key.startswith("uq4ct_")
    assert len(key) == len("uq4ct_") + 43  # 256 bits in base64
    assert json.loads(file.read_text()) == [
        {"id": "acme-1", "sha256": hash_key(key.encode()), "scopes": ["predict", "feedback"], "tenant": "acme"}
    ]
    found = KeyRing(file, Clocks()).find(key.encode())
    assert found is not None
    assert found.id == "acme-1"


def test_the_hash_is_sha256() -> None:
    # FIPS 180-2, appendix B.1
    assert hash_key(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_the_file_is_for_its_owner_only(file: Path) -> None:
    new(file, "--scopes", "predict")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def ownership(file: Path) -> tuple[int, int, int]:
    status = file.stat()
    return status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)


def test_a_file_that_is_there_keeps_its_permissions(file: Path) -> None:
    new(file, "--scopes", "predict", "--id", "one")
    for mode in (0o640, 0o400):
        file.chmod(mode)
        new(file, "--scopes", "predict")
        assert stat.S_IMODE(file.stat().st_mode) == mode
    assert run("revoke", "one", "--file", file).exit_code == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o400


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file away")
def test_the_server_s_file_stays_the_server_s(file: Path) -> None:
    new(file, "--scopes", "predict", "--id", "one")
    os.chown(file, 10001, 10002)
    file.chmod(0o640)
    new(file, "--scopes", "predict", "--id", "two")
    assert ownership(file) == (10001, 10002, 0o640)
    assert run("revoke", "one", "--file", file).exit_code == 0
    assert ownership(file) == (10001, 10002, 0o640)
    assert [one.id for one in read_keys(file)[0]] == ["two"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a file of another user")
@pytest.mark.parametrize("owner", [(0, 0), (65534, 10001)])
def test_who_may_not_give_the_file_its_owner_changes_nothing(owner: tuple[int, int]) -> None:
    code = (
        "import os, sys; from pathlib import Path; from uq4ct.service.access.keys import *\n"
        "record = KeyRecord(id='two', sha256=hash_key(b'two'), scopes=('admin',), tenant='t')\n"
        "os.setgroups([]), os.setgid(65534), os.setuid(65534)\n"
        "try: add_key(Path(sys.argv[1]), record)\n"
        "except KeyFileError as error: print(error)\n"
    )
    with TemporaryDirectory(dir="/var/tmp") as folder:  # other users cannot enter pytest's folders
        Path(folder).chmod(0o777)
        file = Path(folder) / "keys.json"
        add_key(file, record("one", "one", ["predict"]))
        file.with_name(f".{file.name}.lock").chmod(0o666)
        os.chown(file, *owner)
        file.chmod(0o644)
        before = file.read_bytes(), file.stat().st_ino, ownership(file)
        command = [sys.executable, "-c", code, str(file)]
        refused = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        user, group = owner
        assert refused.stdout.startswith(f"{file}: belongs to user {user}, group {group}; "), refused
        assert (file.read_bytes(), file.stat().st_ino, ownership(file)) == before
        assert {path.name for path in file.parent.iterdir()} == {"keys.json", ".keys.json.lock"}


def test_ids_are_made_where_none_is_given(file: Path) -> None:
    keys = {new(file, "--scopes", "predict", "--tenant", "acme") for _ in range(3)}
    records, _ = read_keys(file)
    assert len(keys) == len({one.id for one in records}) == 3
    assert all(one.id.startswith("acme-") for one in records)


def test_the_list_shows_no_hash(file: Path) -> None:
    key = new(file, "--scopes", "admin", "--id", "root").strip()
    new(file, "--scopes", "predict,feedback", "--tenant", "acme", "--id", "short", "--days", "30")
    listed = run("list", "--file", file).stdout
    rows = [line.split("\t") for line in listed.splitlines()]
    assert [row[:3] for row in rows] == [["root", "default", "admin"], ["short", "acme", "predict,feedback"]]
    assert rows[0][3] == "never expires"
    assert rows[1][3].startswith("expires 20")
    assert hash_key(key.encode()) not in listed
    assert key not in listed


def test_a_revoked_key_is_gone(file: Path) -> None:
    for name in ("one", "two"):
        new(file, "--scopes", "predict", "--id", name)
    assert run("revoke", "one", "--file", file).exit_code == 0
    assert [one.id for one in read_keys(file)[0]] == ["two"]
    again = run("revoke", "one", "--file", file)
    assert again.exit_code == 1
    assert "no key 'one'; existing keys: two" in again.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--scopes", "predict,everything"], "unknown 'everything', must be among predict, feedback, admin"),
        (["--scopes", ""], "unknown ''"),
        (["--scopes", "predict", "--tenant", "A B"], "(got 'A B')"),
        (["--scopes", "predict", "--id", "../x"], "(got '../x')"),
        (["--scopes", "predict", "--id", "taken"], "key 'taken' already exists"),
    ],
)
def test_a_wrong_argument_is_named_and_changes_nothing(file: Path, arguments: list[str], message: str) -> None:
    new(file, "--scopes", "predict", "--id", "taken")
    before = file.read_bytes()
    refused = run("new", "--file", file, *arguments)
    assert refused.exit_code == 1
    assert message in refused.output
    assert refused.stdout == ""
    assert file.read_bytes() == before


def test_the_file_is_needed_and_can_be_a_variable(file: Path) -> None:
    missing = run("new", "--scopes", "predict")
    assert missing.exit_code == 2
    assert "API_KEYS_FILE" in missing.output
    given = uq4ct(["keys", "new", "--scopes", "predict"], env={"UQ4CT_API_KEYS_FILE": str(file)})
    assert given.exit_code == 0
    assert file.exists()


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    refused = run("new", "--scopes", "predict", "--file", tmp_path / "nowhere" / "keys.json")
    assert refused.exit_code == 1
    assert "nowhere" in refused.output
    assert "Traceback" not in refused.output


def test_a_link_stays_a_link(tmp_path: Path, file: Path) -> None:
    link = tmp_path / "link.json"
    link.symlink_to(file)
    new(link, "--scopes", "predict", "--id", "one")
    assert link.is_symlink()
    assert [one.id for one in read_keys(file)[0]] == ["one"]


def two_records(*hashes: str, ids: str) -> str:
    pairs = zip(ids, hashes, strict=True)
    return json.dumps([{"id": name, "sha256": sha, "scopes": ["admin"], "tenant": "t"} for name, sha in pairs])


SHA = "a" * 64


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "Invalid JSON"),
        ("{}", "valid array"),
        ('[{"id": "a"}]', "0.sha256: Field required"),
        (f'[{{"id": "a", "sha256": "{SHA}", "scopes": [], "tenant": "t"}}]', "0.scopes: .*at least 1"),
        (f'[{{"id": "a", "sha256": "{SHA}", "scopes": ["root"], "tenant": "t"}}]', r"0.scopes.0: .*'predict'"),
        (f'[{{"id": "a", "sha256": "{SHA}x", "scopes": ["admin"], "tenant": "t"}}]', "0.sha256: .*pattern"),
        (f'[{{"id": "a", "sha256": "{SHA}", "scopes": ["admin"], "tenant": "t", "key": "k"}}]', "0.key: Extra"),
        (f'[{{"id": "a", "sha256": "{SHA}", "scopes": ["admin"], "tenant": "t", "expires_at": "2030-01-01T00:00"}}]',
         "0.expires_at: .*timezone"),
        (two_records("a" * 64, "b" * 64, ids="aa"), "1: duplicate id"),
        (two_records(SHA, SHA, ids="ab"), "1: duplicate hash"),
    ],
)  # fmt: skip
def test_a_damaged_file_is_named_and_not_quoted(file: Path, content: str, message: str) -> None:
    file.write_text(content)
    with pytest.raises(KeyFileError, match=message) as caught:
        KeyRing(file, Clocks())
    assert str(file) in str(caught.value)
    assert SHA not in str(caught.value)
    for refused in (run("new", "--file", file, "--scopes", "predict"), run("list", "--file", file)):
        assert refused.exit_code == 1
        assert SHA not in refused.output
    assert file.read_text() == content


@pytest.mark.parametrize("command", ["serve", "check"])
def test_the_server_does_not_start_on_a_damaged_file(command: str, file: Path, store_dir: Path) -> None:
    arguments = [command, "--api-keys-file", str(file), "--model-store-dir", str(store_dir), "--default-model", "toy"]
    missing = uq4ct(arguments)
    assert missing.exit_code == 1
    assert f"error: {file}: No such file" in missing.output
    file.write_text("[{")
    refused = uq4ct(arguments)
    assert refused.exit_code == 1
    assert f"error: {file}: Invalid JSON" in refused.output


def test_check_goes_on_to_the_model_where_the_keys_are_sound(file: Path, store_dir: Path) -> None:
    add_key(file, record("k", "k", ["predict"]))
    arguments = ["check", "--api-keys-file", str(file), "--model-store-dir", str(store_dir), "--default-model", "toy"]
    refused = uq4ct(arguments)
    assert refused.exit_code == 1  # the store's base model does not exist
    assert "secret-place" in refused.output
    assert str(file) not in refused.output


def test_concurrent_changes_lose_no_key(file: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from uq4ct.service.access.keys import *\n"
        "for n in range(15):\n"
        "    name = f'{sys.argv[1]}-{n}'\n"
        "    record = KeyRecord(id=name, sha256=hash_key(name.encode()), scopes=('admin',), tenant='t')\n"
        "    add_key(Path(sys.argv[2]), record)"
    )
    others = [subprocess.Popen([sys.executable, "-c", code, f"process{n}", str(file)], cwd=ROOT) for n in range(2)]
    names = [f"thread-{n}" for n in range(30)]
    with ThreadPoolExecutor(6) as threads:
        list(threads.map(lambda name: add_key(file, record(name, name, ["predict"])), names))
    assert [process.wait(30) for process in others] == [0, 0]
    expected = {*names, *(f"process{p}-{n}" for p in range(2) for n in range(15))}
    assert {one.id for one in read_keys(file)[0]} == expected
    assert {path.name for path in file.parent.iterdir()} == {"keys.json", ".keys.json.lock"}
