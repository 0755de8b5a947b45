from pathlib import Path

import pytest
from PIL import Image

from fleetnet.data.sources import open_source
from fleetnet.errors import FleetnetError
from fleetnet.training.lr_finder import find_lr, plot, suggest
from fleetnet.training.recipe import Recipe
from fleetnet.training.trainer import Trainer
from samples import TINY


@pytest.mark.slow
def test_a_search_ends_with_a_rate_at_which_the_loss_fell(shapes: Path, tmp_path: Path) -> None:
    trainer = Trainer(
        open_source(str(shapes)), "MobileNetV2_x0_25", Recipe.load(overrides=TINY), tmp_path
    )
    done: list[int] = []
    found = find_lr(trainer, 60, done.append)
    assert len(found.rates) == len(found.losses) <= len(done) <= 60
    assert found.rates[0] == pytest.approx(1e-5)
    assert 1e-6 <= found.suggestion < 10
    plot(found, tmp_path / "lr.png")
    with Image.open(tmp_path / "lr.png") as picture:
        assert picture.size == (1050, 630)


def test_the_suggestion_is_on_the_steepest_slope() -> None:
    rates = [10 ** (step / 10 - 5) for step in range(50)]
    losses = [2.0 - 1 / (1 + 2.0 ** (25 - step)) + (0.3 * max(0, step - 35)) for step in range(50)]
    assert suggest(rates, losses) == pytest.approx(rates[25], rel=0.3)
    rising = [1.0] * 30 + [1.0 + step / 10 for step in range(20)]
    assert suggest(rates, rising) == pytest.approx(rates[32] / 10)
    for flat in ([1.0] * 50, [0.5]):
        with pytest.raises(FleetnetError, match="changes at no learning rate"):
            suggest(rates[: len(flat)], flat)
