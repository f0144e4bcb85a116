from __future__ import annotations

import pytest

from model_store.base_identity import BaseIdentity
from service.schemas import Base
from tests.service.conftest import SCORES, Start
from tests.service.fake_predictor import FakePredictor

pytestmark = pytest.mark.anyio


async def test_every_version_with_its_state(start: Start) -> None:
    async with start() as replica:
        response = await replica.client.get("/models")
        states = {
            (card["name"], card["version"]): (card["aliases"], card["loaded"], card["ready"], card["default"])
            for card in response.json()["models"]
        }
        assert states == {
            ("toy", 1): (["production"], True, True, True),
            ("toy", 2): (["staging"], False, False, False),
            ("other", 1): (["production"], False, False, False),
        }
        assert "secret-place" not in response.text
        replica.context.engine.leave()
        assert [(await replica.client.get("/models/toy")).json()[key] for key in ("loaded", "ready")] == [True, False]


async def test_one_version_with_its_scores(start: Start) -> None:
    async with start() as replica:
        card = (await replica.client.get("/models/toy@2")).json()
        assert card == (await replica.client.get("/models/toy@staging")).json()
    assert card["version"] == 2
    assert card["scores"] == SCORES.model_dump(mode="json")
    assert card["base"] == {"name": "tiny", "revision": None, "digest": "sha256:" + "0f" * 32}
    assert card["calibration"]["value"] == 1.3
    assert card["reference_histograms"]["confidence"] == [2, 6, 12]
    assert card["batch_company"]["dtype"] == "float32"


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("nobody", 404),
        ("toy@7", 404),
        ("toy@_", 404),
        ("UPPER", 422),
        ("..%2f..%2fetc", 404),
        ("%ff", 422),
        ("%00", 422),
    ],
)
async def test_what_is_not_registered(start: Start, name: str, status: int) -> None:
    async with start() as replica:
        response = await replica.client.get(f"/models/{name}")
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"


async def test_models_are_listed_before_any_is_loaded(start: Start, predictor: FakePredictor) -> None:
    predictor.forward_may_start.clear()
    async with start(wait=False) as replica:
        cards = (await replica.client.get("/models")).json()["models"]
    assert len(cards) == 3
    assert not any(card["ready"] for card in cards)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("tiny", "tiny"),
        ("owner/tiny", "owner/tiny"),
        ("/srv/w/tiny", "tiny"),
        ("./tiny", "tiny"),
        ("~/w/tiny", "tiny"),
        ("a/b/tiny", "tiny"),
    ],
)
def test_of_a_local_base_only_the_last_name_is_told(name: str, shown: str) -> None:
    identity = BaseIdentity(name=name, revision=None, digest="sha256:" + "0f" * 32, model_type="llama")
    assert Base.from_identity(identity).name == shown
