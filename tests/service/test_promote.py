"""uq4ct promote: changes an alias in the store after checking every digest."""

from __future__ import annotations

import pytest

from tests.command_line import Done, uq4ct
from tests.service.conftest import Start
from tests.service.fake_predictor import FakePredictor
from uq4ct.model_store.storage.registry import Registry

pytestmark = pytest.mark.anyio


def promote(adapters: Registry, *arguments: str) -> Done:
    return uq4ct(["promote", *arguments], env={"UQ4CT_MODEL_STORE_DIR": str(adapters.root)})


def test_promoting_and_rolling_back(own_adapters: Registry) -> None:
    for version in (2, 1):
        done = promote(own_adapters, "toy", str(version))
        assert (done.exit_code, done.output) == (0, f"toy@production now points to toy@{version}\n")
        assert own_adapters.resolve("toy") == ("toy", version)
    assert promote(own_adapters, "toy", "1", "--alias", "canary").exit_code == 0
    assert own_adapters.resolve("toy@canary") == ("toy", 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("toy", "9"), "toy@9"),
        (("nobody", "1"), "nobody@1"),
        (("../toy", "1"), "does not match"),
        (("toy", "2", "--alias", "1"), "alias '1'"),
    ],
)
def test_what_cannot_be_promoted_is_said(own_adapters: Registry, arguments: tuple[str, ...], message: str) -> None:
    refused = promote(own_adapters, *arguments)
    assert refused.exit_code == 1
    assert message in refused.output
    assert own_adapters.resolve("toy") == ("toy", 1)


def test_a_damaged_version_is_not_promoted(own_adapters: Registry) -> None:
    weights = own_adapters.root / "toy" / "2" / "adapter.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    refused = promote(own_adapters, "toy", "2")
    assert refused.exit_code == 1
    assert "adapter.safetensors" in refused.output
    assert own_adapters.resolve("toy") == ("toy", 1)


async def test_a_version_with_another_alias_is_not_in_production(start: Start, own_adapters: Registry) -> None:
    async with start(adapters=own_adapters) as replica:
        assert (await replica.ask(model="toy@staging")).json()["model"] == "toy@2"
        assert replica.sample("model_production", model="toy", version="1") == 1
        assert replica.sample("model_production", model="toy", version="2") == 0


async def test_a_running_replica_sees_it(start: Start, own_adapters: Registry, predictor: FakePredictor) -> None:
    async with start(adapters=own_adapters, alias_poll_seconds=0.02) as replica:
        assert (await replica.ask()).json()["model"] == "toy@1"
        promote(own_adapters, "toy", "2")
        await replica.settle(lambda: replica.context.engine.default_manifest.version == 2)
        assert (await replica.ask()).json()["model"] == "toy@2"
        assert replica.sample("model_production", model="toy", version="1") == 0
        assert replica.sample("model_production", model="toy", version="2") == 1
        promote(own_adapters, "toy", "1")  # which is still in memory
        await replica.settle(lambda: replica.sample("model_production", model="toy", version="1") == 1)
        assert replica.sample("model_production", model="toy", version="2") == 0
        promote(own_adapters, "toy", "2")
        await replica.settle(lambda: replica.context.engine.default_manifest.version == 2)
        card = (await replica.client.get("/models/toy@2")).json()
        assert (card["default"], card["aliases"]) == (True, ["production", "staging"])
