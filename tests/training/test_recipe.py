from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetnet.errors import RecipeError
from fleetnet.training.recipe import Recipe
from fleetnet.training.recipe_files import names


def test_the_recipes_of_the_package_load() -> None:
    assert "finetune" in names()
    for name in names():
        assert Recipe.load(name).name == name


def test_published_recipes_are_as_published() -> None:
    paddle = Recipe.load("mobilenetv2", model="mobilenetv2")
    assert (paddle.epochs, paddle.batch_size, paddle.optimizer.lr) == (240, 256, 0.045)
    assert (paddle.optimizer.weight_decay, paddle.optimizer.nesterov) == (4e-5, False)
    assert (paddle.schedule.name, paddle.schedule.warmup_epochs, paddle.ema.decay) == (
        "cosine",
        0,
        0,
    )
    for small in ("MobileNetV2_x0_25", "mobilenetv2_x0_5"):
        assert Recipe.load("mobilenetv2", model=small).optimizer.weight_decay == 3e-5
    assert Recipe.load("mobilenetv2", model="MobileNetV2_x0_75").optimizer.weight_decay == 4e-5
    first = Recipe.load("mobilenetv1", model="MobileNetV1")
    assert (first.epochs, first.optimizer.lr, first.optimizer.weight_decay) == (120, 0.1, 3e-5)
    for size, policy in (("large", "autoaugment"), ("small", "none")):
        third = Recipe.load("mobilenetv3", model=f"MobileNetV3_{size}_x1_0")
        assert (third.epochs, third.batch_size, third.optimizer.lr) == (360, 2048, 1.3)
        assert third.augment.policy == policy
    theirs = Recipe.load("mobilenetv3-paper", model="MobileNetV3_small_x1_0")
    assert (theirs.optimizer.name, theirs.schedule.gamma, theirs.ema.decay) == (
        "rmsprop",
        0.99,
        0.9999,
    )
    rexnet = Recipe.load("rexnet", model="ReXNet_1_0")
    assert (rexnet.epochs, rexnet.optimizer.lr, rexnet.optimizer.weight_decay) == (120, 0.1, 1e-4)
    assert (rexnet.schedule.milestones, rexnet.schedule.gamma) == ((30, 60, 90), 0.1)
    assert Recipe.load("rexnet-paper", model="ReXNet_1_0").model.drop_path == 0
    assert Recipe.load("rexnet-paper", model="rexnet_1_5").model.drop_path == 0.2
    lcnet = Recipe.load("pplcnet", model="PPLCNet_x1_0")
    assert (lcnet.epochs, lcnet.batch_size, lcnet.optimizer.lr) == (360, 2048, 0.8)
    assert Recipe.load("mobilenetv4").optimizer.name == "adamw"


def test_the_recipes_of_shufflenetv2_and_ghostnet_are_those_of_paddleclas() -> None:
    """Its batch norms decay in ShuffleNetV2, and not in GhostNet."""
    shuffle = Recipe.load("shufflenetv2", model="ShuffleNetV2_swish")
    assert (shuffle.epochs, shuffle.batch_size, shuffle.optimizer.lr) == (240, 1024, 0.5)
    assert (shuffle.optimizer.weight_decay, shuffle.optimizer.decay_norm_and_bias) == (4e-5, True)
    for narrow in ("ShuffleNetV2_x0_25", "ShuffleNetV2_x0_33", "ShuffleNetV2_x0_5"):
        assert Recipe.load("shufflenetv2", model=narrow).optimizer.weight_decay == 3e-5
    for wide in ("ShuffleNetV2_x1_5", "ShuffleNetV2_x2_0"):
        recipe = Recipe.load("shufflenetv2", model=wide)
        assert (recipe.batch_size, recipe.optimizer.lr) == (512, 0.25)
        assert recipe.optimizer.weight_decay == 4e-5
    ghost = Recipe.load("ghostnet", model="GhostNet_x1_3")
    assert (ghost.epochs, ghost.batch_size, ghost.optimizer.lr) == (360, 2048, 0.8)
    assert (ghost.optimizer.weight_decay, ghost.optimizer.decay_norm_and_bias) == (4e-5, False)
    assert (ghost.schedule.warmup_epochs, ghost.loss.label_smoothing) == (5, 0.1)


def test_the_command_line_overrides_what_a_recipe_says_of_the_network(tmp_path: Path) -> None:
    setting = ["optimizer.weight_decay=0.5"]
    chosen = Recipe.load("mobilenetv2", setting, "MobileNetV2_x0_25")
    assert chosen.optimizer.weight_decay == 0.5
    file = tmp_path / "mine.yaml"
    file.write_text("models: {MobileNetV3: {epochs: 3}}")
    with pytest.raises(RecipeError, match=r"mine\.yaml: models: unknown model 'MobileNetV3'"):
        Recipe.load(str(file))
    file.write_text("models: [1]")
    with pytest.raises(RecipeError, match="must map names"):
        Recipe.load(str(file))


def test_settings_override_the_file() -> None:
    recipe = Recipe.load(
        overrides=["optimizer.lr=0.05", "epochs=3", "input.crop=96", "ema.decay=0", "seed=1e3"]
    )
    assert recipe.optimizer.lr == 0.05
    assert (recipe.epochs, recipe.input.crop, recipe.ema.decay, recipe.seed) == (3, 96, 0, 1000)
    assert recipe.optimizer.momentum == 0.9


def test_numbers_that_yaml_takes_for_text_are_numbers() -> None:
    assert Recipe.load(overrides=["optimizer.weight_decay=4e-5"]).optimizer.weight_decay == 4e-5


def test_the_printed_recipe_reads_back(tmp_path: Path) -> None:
    recipe = Recipe.load(overrides=["epochs=7", "model.dropout=0.1"])
    (tmp_path / "mine.yaml").write_text(recipe.to_yaml())
    assert Recipe.load(str(tmp_path / "mine.yaml")) == recipe


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("epohcs=3", "unknown key 'epohcs', did you mean 'epochs'"),
        ("lr=3", "unknown key 'lr', did you mean 'optimizer.lr'"),
        ("optimizer.learning_rate=3", "unknown key 'optimizer.learning_rate'"),
        ("optimiser.lr=3", "unknown key 'optimiser'"),
        ("epochs=0", "epochs: it must be at least 1, not 0"),
        ("epochs=many", "epochs: it must be a whole number, not 'many'"),
        ("optimizer.name=adm", "optimizer.name: .*'sgd'"),
        ("epochs", "key=value"),
        ("=3", "key=value"),
        ("epochs.x=3", "'epochs' is a value"),
        ("input.crop=300", r"input\.crop \(300\) is larger"),
        ("input.std=[0, 1, 1]", "input.std"),
        ("epochs=[", "not a YAML value"),
        ("epochs=2026-99-99", "not a YAML value"),
        ("epochs=" + "[" * 5000, "not a YAML value"),
    ],
)
def test_wrong_settings_are_named(setting: str, words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        Recipe.load(overrides=["epochs=3", setting])


def test_wrong_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="did you mean 'finetune'"):
        Recipe.load("fintune")
    with pytest.raises(RecipeError, match="No such file"):
        Recipe.load(str(tmp_path / "none.yaml"))
    file = tmp_path / "wrong.yaml"
    for content, words in (
        (b"epochs: [", "not valid YAML at line 1"),
        (b"epochs: 2026-99-99", "not valid YAML"),
        (b"- 1", "must be a mapping"),
        (b"\xff\xfe\x00", "not UTF-8|not valid YAML"),
        (b"!!python/object/apply:os.system [true]", "not valid YAML"),
    ):
        file.write_bytes(content)
        with pytest.raises(RecipeError, match=words):
            Recipe.load(str(file))


def test_an_empty_file_is_the_default(tmp_path: Path) -> None:
    (tmp_path / "empty.yml").touch()
    assert Recipe.load(str(tmp_path / "empty.yml")) == Recipe()


@given(st.text(max_size=20), st.text(max_size=20))
def test_any_setting_is_taken_or_refused_in_one_error(key: str, value: str) -> None:
    try:
        Recipe.load(overrides=[f"{key}={value}"])
    except RecipeError as error:
        message = str(error)
        assert message
