"""The shipped recipes: what they say, what they change, and that each really trains."""

from __future__ import annotations

import itertools
import json
import re
import warnings
from importlib import resources

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra `train` is not installed")
pytest.importorskip("tuningfork.training")  # first: it lets timm import torchvision

import lightning
import timm

from tuningfork.training.initial.pretrained import PACKAGES
from tuningfork.training.lightning_module import MorphologyModule
from tuningfork.training.network import MorphologyNetwork
from tuningfork.training.recipe import IMPROVEMENTS, Augmentation, Recipe, RecipeError, builtin_recipes, load_recipe
from tuningfork.votes.tree_files import load_tree

NAMES = builtin_recipes()
BASES = ("fair/classes", "fair/votes", "paper/classes", "paper/compared", "paper/votes")
PAPER = [name for name in NAMES if name.startswith("paper/")]
FAIR = [name for name in NAMES if name.startswith("fair/")]
NETWORKS = ("dai-tong", *(f"efficientnet-b{k}" for k in range(8)), "inception-v3", "resnet-50", "se-resnet", "vgg-16",
            "vgg-19")  # fmt: skip
#: Of the paper: what must be there.
WANTED = {f"{kind}/classes-{network}" for kind in ("paper", "fair") for network in NETWORKS} | {
    f"{kind}/votes-{network}"
    for kind in ("paper", "fair")
    for network in ("sequential-cnn", *(f"efficientnet-b{k}" for k in range(8)))
}
#: Those that the paper compares with: their rate, epochs and batch are those of its first author's notebooks.
COMPARED = {"dai_tong": 1.1e-3, "inception_v3": 1e-3, "resnet50": 1e-3, "vgg16": 1e-3, "vgg19": 1e-3}
#: Networks of which there are no published weights.
UNPUBLISHED = ("dai_tong", "galaxy_se_resnet", "sequential_cnn")
#: Networks that take a step in less than a second, and build as fast.
SMALL = ("efficientnet_b0", "galaxy_se_resnet", "mobilenetv2_100", "sequential_cnn")


# ------------------------------------------------------------------ what is shipped


def offenders(names, check):
    """The names for which `check` raises AssertionError, with its message."""
    found = []
    for name in names:
        try:
            check(load_recipe(name), name)
        except AssertionError as error:
            found.append(f"{name}: {error}")
    return found


def test_every_network_of_the_paper_has_its_recipes():
    assert set(NAMES) >= WANTED | set(BASES)


def test_recipes_load_and_name_networks_that_timm_knows():
    def check(recipe, name):
        assert timm.is_model(recipe.network), recipe.network
        assert recipe.size >= recipe.min_size
        assert load_tree(recipe.tree).name == "gz2"
        assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe

    assert not offenders(NAMES, check)


def test_a_family_says_command_hardware_time_and_score_on_top():
    missing = []
    for file in (resources.files("tuningfork.training") / "recipes").iterdir():
        lines = file.read_text("utf-8").splitlines()
        top = " ".join(line.lstrip("# ") for line in itertools.takewhile(lambda line: line.startswith("#"), lines))
        words = ("--recipe", "--images images_training_rev1", "--labels training_solutions_rev1.csv", "-o run")
        missing += [f"{file.name}: {word}" for word in words if word not in top]
        missing += [f"{file.name}: {word}" for word in ("hardware", "time", "score") if word not in top.lower()]
        (named,) = re.findall(r"--recipe (\S+)", top)
        if named not in NAMES or not named.startswith(file.name.removesuffix(".toml")):
            missing.append(f"{file.name}: its command names {named}")
    assert not missing


def test_names_are_of_the_networks():
    spelled = {"se-resnet": "galaxy_se_resnet", "resnet-50": "resnet50", "vgg-16": "vgg16", "vgg-19": "vgg19"}

    def check(recipe, name):
        task, network = name.split("/")[1].split("-", 1)
        assert recipe.task == task
        assert recipe.network == spelled.get(network, network.replace("-", "_"))

    assert not offenders(WANTED, check)


# ------------------------------------------------------------------ the paper's settings


def test_the_papers_settings():
    """Kalvankar et al. 2020, sections 3 and 4."""
    free = ("network", "network_options", "drop_path", "init", "weights", "size", "min_size")

    def check(recipe, name):
        large = recipe.network in {f"efficientnet_b{k}" for k in range(4, 8)}
        assert recipe.size == (256 if large or recipe.task == "classes" else 224)
        assert recipe.crop == 0.5
        compared = recipe.network in COMPARED or name == "paper/compared"
        assert (recipe.batch, recipe.epochs, recipe.patience) == ((32, 30, 9) if compared else (64, 50, 9))
        rate = COMPARED.get(recipe.network, 1e-3) if compared else 1.5e-4
        assert (recipe.optimizer, recipe.learning_rate, recipe.weight_decay) == ("adam", rate, 0)
        assert (recipe.schedule, recipe.plateau_factor, recipe.plateau_patience) == ("plateau", 0.2, 4)
        assert (recipe.hidden, recipe.dropout) == ((0, 0) if compared else (64, 0.5))
        assert recipe.augmentation == Augmentation(
            rotation=(-90, 90), flip=True, shift=0.1, zoom=(1, 1), brightness=(0.9, 1.2)
        )
        assert (recipe.ema_decay, recipe.views) == (0, 1)
        assert recipe.init == ("" if recipe.network in UNPUBLISHED else "imagenet")
        if recipe.weights in PACKAGES:
            assert PACKAGES[recipe.weights].network == recipe.network
        elif recipe.init and name not in BASES:
            # Exactly named, ImageNet-1k alone, of this network.
            architecture, tag = recipe.weights.split(".")
            assert architecture.removeprefix("tf_") == recipe.network
            assert tag.endswith("in1k")
            assert recipe.weights in timm.list_pretrained(f"{architecture}.*")
            assert not any(word in tag for word in ("jft", "12k", "21k", "22k"))
        assert recipe.precision == "32-true"
        assert recipe.gradient_clip == 0
        if recipe.task == "votes":
            assert (recipe.output, recipe.loss, recipe.monitor) == ("sigmoid", "rmse", "val_rmse")
        else:
            assert recipe.monitor == "val_loss"
        counts = {key: tuple(value) for key, value in recipe.published_split.items()}
        assert sum(total for total, _ in counts.values()) == 25_941
        assert sum(test for _, test in counts.values()) == 2_589
        assert list(counts) == [rule.key for rule in load_tree("gz2").classes]
        # They differ in little from one another.
        same = load_recipe("paper/compared" if compared else f"paper/{recipe.task}")
        same = same.changed(learning_rate=recipe.learning_rate)
        assert same.changed(**{key: getattr(recipe, key) for key in free}) == recipe

    assert not offenders(PAPER, check)


def test_the_fair_recipes_are_alike_for_every_network():
    same = load_recipe("fair/votes")
    free = ("network", "precision", "drop_path", "task", "min_size")

    def check(recipe, name):
        assert same.changed(**{key: getattr(recipe, key) for key in free}) == recipe
        assert recipe.init == ""
        assert recipe.patience >= recipe.epochs  # every network has the whole schedule

    assert not offenders(FAIR, check)


# ------------------------------------------------------------------ improvements


@pytest.mark.parametrize("name", ["paper/votes-efficientnet-b0", "paper/classes-vgg-16"])
@pytest.mark.parametrize("choice", IMPROVEMENTS)
def test_one_improvement_changes_its_keys_alone(name, choice):
    before = load_recipe(name)
    after = before.improved([choice])
    changed = {key for key, value in before if value != getattr(after, key)}
    assert changed == {key for key, value in IMPROVEMENTS[choice].items() if getattr(before, key) != value}
    assert changed or (choice, before.task) == ("tree", "classes")
    assert {key: getattr(after, key) for key in IMPROVEMENTS[choice]} == IMPROVEMENTS[choice]


def test_all_improvements_together_and_none():
    recipe = load_recipe("paper/votes")
    assert recipe.improved([]) == recipe
    every = recipe.improved(IMPROVEMENTS)
    assert (every.output, every.optimizer, every.schedule, every.ema_decay > 0, every.views) == (
        "tree", "adamw", "cosine", True, 8,
    )  # fmt: skip
    assert recipe.improved(["ema", "ema"]) == recipe.improved(["ema"])


def test_a_choice_that_is_none_of_ours_is_refused():
    with pytest.raises(RecipeError, match=r"'eam' is none of our improvements: tree, adamw, cosine, ema, views"):
        load_recipe("paper/votes").improved(["tree", "eam"])


# ------------------------------------------------------------------ recipes that stand on others


def write(path, text):
    path.write_text(text, "utf-8")
    return path


def test_what_a_recipe_does_not_say_is_as_in_its_base(tmp_path):
    file = write(tmp_path / "mine.toml", 'base = "paper/votes"\nsize = 64\n[augmentation]\nshift = 0.2\n')
    expected = load_recipe("paper/votes")
    assert load_recipe(file) == expected.changed(size=64, augmentation=expected.augmentation.changed(shift=0.2))
    above = write(tmp_path / "above.toml", f'base = "{file.as_posix()}"\nepochs = 3\n')
    assert load_recipe(above) == load_recipe(file).changed(epochs=3)


def test_an_unknown_key_is_named_with_the_nearest(tmp_path):
    below = tmp_path / "below.toml"
    for text, near in (
        ("learning_rat = 0.1", "learning_rate"),
        ("droput = 0.1", "dropout"),
        ("plateau_factr = 0.1", "plateau_factor"),
        ("[augmentation]\nrotatoin = [0, 1]", "rotation"),
        ("[augmentation]\nbrightnes = [0.9, 1]", "brightness"),
    ):
        write(below, text)
        for above in (text, f'base = "paper/votes-efficientnet-b0"\n{text}', f'base = "{below.as_posix()}"\n'):
            file = write(tmp_path / "r.toml", above)
            with pytest.raises(RecipeError, match=rf"^{file}: unknown key .*is '{near}' meant\?$"):
                load_recipe(file)


def test_variants_of_a_file_of_ones_own(tmp_path):
    file = write(tmp_path / "f.toml", 'base = "paper/votes"\nsize = 64\n[variants]\na = {}\n'
                 'b = { base = "a", epochs = 3 }\nc = { base = "fair/votes", seed = 2 }\n')  # fmt: skip
    assert load_recipe(file / "a") == load_recipe("paper/votes").changed(size=64)
    assert load_recipe(f"{file}/b") == load_recipe(file / "a").changed(epochs=3)
    assert load_recipe(file / "c") == load_recipe("fair/votes").changed(seed=2)
    with pytest.raises(RecipeError, match=r"name one of its variants: .*f\.toml/a, .*f\.toml/b"):
        load_recipe(file)
    with pytest.raises(RecipeError, match=r"name one of its variants"):
        load_recipe(file / "d")
    with pytest.raises(RecipeError, match="variants must be tables"):
        load_recipe(write(tmp_path / "g.toml", "variants = 3"))


def test_a_key_like_nothing_is_told_without_a_guess(tmp_path):
    with pytest.raises(RecipeError, match=r"unknown key 'qqqqq'$"):
        load_recipe(write(tmp_path / "r.toml", "qqqqq = 1"))


def test_a_circle_of_bases_is_refused(tmp_path):
    one, two = tmp_path / "one.toml", tmp_path / "two.toml"
    write(one, f'base = "{two.as_posix()}"')
    write(two, f'base = "{one.as_posix()}"')
    with pytest.raises(RecipeError, match="do they form a circle"):
        load_recipe(one)
    with pytest.raises(RecipeError, match="do they form a circle"):
        load_recipe(write(one, f'base = "{one.as_posix()}"'))


@pytest.mark.parametrize("base", ["1", "true", '["paper/votes"]', "{}"])
def test_a_base_that_is_no_name_is_refused(tmp_path, base):
    with pytest.raises(RecipeError, match="base = "):
        load_recipe(write(tmp_path / "r.toml", f"base = {base}"))


def test_a_base_that_is_not_there_is_named(tmp_path):
    file = write(tmp_path / "r.toml", 'base = "paper/votse"')
    with pytest.raises(RecipeError, match="paper/votse"):
        load_recipe(file)


REFUSED = (
    'task = "vote"', 'output = "softmax"', 'loss = "mse"', 'optimizer = "sgd"', 'schedule = "step"',
    'precision = "8-true"', "hidden = -1", "plateau_factor = 1.0", "validation = 0.9\ntest = 0.2", "size = 8",
    "min_size = 75\nsize = 64", 'network = 5', "network_options = 3", "augmentation = 3", "published_split = 5",
    "learning_rate = 0", "learning_rate = nan",
    "published_split = {round = 5}", "published_split = {round = [5, true]}", "augmentation = {rotation = 5}",
    "augmentation = {zoom = [1.2, 1.0]}", 'augmentation = {zoom = ["a", "b"]}', "augmentation = {zoom = [1]}",
    "crop = 2.0", "size = 'large'", "views = 3", "epochs = 0", "epochs = true", "dropout = true",
)  # fmt: skip


def test_values_that_cannot_be_are_refused(tmp_path):
    accepted = []
    for line in REFUSED:
        file = write(tmp_path / "r.toml", line)
        try:
            load_recipe(file)
            accepted.append(line)
        except RecipeError as error:
            if str(file) not in str(error):
                accepted.append(f"{line}: the message names no file: {error}")
    assert not accepted


# ------------------------------------------------------------------ every network


def steps(recipe: Recipe, *, batch: int = 2, count: int = 2) -> dict[str, float]:
    """Some training steps and one of validation on noise, as the recipe has them."""
    tree = load_tree(recipe.tree)
    rng = np.random.default_rng(0)
    images = rng.uniform(-1, 1, (batch * count, 3, recipe.size, recipe.size)).astype(np.float32)
    known = rng.uniform(0, 1, (batch * count, len(tree.columns))).astype(np.float32)
    candidates = np.eye(len(tree.classes), dtype=np.float32)[rng.integers(0, 7, batch * count)]
    data = torch.utils.data.TensorDataset(*map(torch.from_numpy, (images, known, candidates)))
    lightning.seed_everything(0, verbose=False)
    module = MorphologyModule(recipe, tree)
    before = module.network.head.weight.detach().clone()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = lightning.Trainer(
            max_epochs=1, limit_val_batches=1, num_sanity_val_steps=0, accelerator="cpu", devices=1, logger=False,
            enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
            precision=recipe.precision,
        )  # fmt: skip
        trainer.fit(module, *(torch.utils.data.DataLoader(data, batch_size=batch) for _ in range(2)))
    assert trainer.global_step == count
    assert not torch.equal(module.network.head.weight, before)
    return {key: float(value) for key, value in trainer.callback_metrics.items()}


def _cases(names):
    """The small networks of some recipes once for each task, the large ones once and marked slow."""
    seen, cases = set(), []
    for name in names:
        recipe = load_recipe(name)
        small = recipe.network in SMALL
        key = (recipe.network, recipe.task if small else "")
        if key not in seen:
            seen.add(key)
            cases.append(pytest.param(name, id="-".join(key), marks=() if small else (pytest.mark.slow,)))
    return cases


@pytest.mark.parametrize("name", _cases(NAMES))
def test_the_network_builds_and_tells_what_it_should(name, gz2):
    recipe = load_recipe(name)
    recipe = recipe.changed(size=max(32, recipe.min_size))
    network = MorphologyNetwork(
        recipe.network, gz2, task=recipe.task, hidden=recipe.hidden, dropout=recipe.dropout,
        drop_path=recipe.drop_path, options=recipe.network_options,
    ).eval()  # fmt: skip
    width = {"votes": 37, "classes": 7, "both": 44}[recipe.task]
    with torch.no_grad():
        logits = network(torch.zeros(2, 3, recipe.size, recipe.size))
    assert logits.shape == (2, width)
    assert network.answers == (0 if recipe.task == "classes" else 37)
    assert logits.isfinite().all()
    hidden = [layer for layer in network.hidden.modules() if isinstance(layer, torch.nn.Linear)]
    assert [layer.out_features for layer in hidden] == ([recipe.hidden] if recipe.hidden else [])


@pytest.mark.parametrize("name", ["paper/votes-efficientnet-b0", "fair/classes-se-resnet", "paper/classes-se-resnet"])
def test_small_networks_take_two_steps_at_a_small_size(name):
    recipe = load_recipe(name).changed(size=32)
    figures = steps(recipe, batch=4)
    assert all(np.isfinite(value) for value in figures.values())
    assert recipe.monitor in figures


def _each_network_once(names):
    """Each network at the largest size that it is trained at."""
    largest = {}
    for name in names:
        recipe = load_recipe(name)
        if name not in BASES and recipe.size > largest.get(recipe.network, ("", 0))[1]:
            largest[recipe.network] = (name, recipe.size)
    return [name for name, _ in largest.values()]


@pytest.mark.slow
@pytest.mark.parametrize("name", _each_network_once(PAPER))
def test_the_papers_recipes_train_at_full_size(name):
    recipe = load_recipe(name)
    figures = steps(recipe, count=2 if recipe.network in SMALL else 1)
    assert all(np.isfinite(value) for value in figures.values())
    assert figures[recipe.monitor] > 0


def test_an_unknown_recipe_is_answered_with_families_and_the_nearest():
    with pytest.raises(
        RecipeError, match=r"paper/classes and \d+ more.*did you mean '\w+/votes-efficientnet-b0'"
    ) as said:
        load_recipe("votes-efficientnet-b0")
    assert len(str(said.value)) < 300


def test_an_unknown_start_is_wrong_usage_and_answered_with_the_nearest(run, tmp_path):
    words = ("train", "--init", "fst", "--images", tmp_path, "-o", tmp_path / "run")
    assert "did you mean 'fast'" in re.sub(r"[│\s]+", " ", run(*words, code=2).output)
