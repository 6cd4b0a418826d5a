"""Models are made from a configuration, and give an object."""

from __future__ import annotations

from textwrap import dedent
from typing import Any

import pytest

IMPORT = "from src.models.resnet_bk import LanguageModel\n"
TODAY = "from resnet_bk import MambaKillerConfig, ResNetBK\n"
# Every setting whose default is another one now, so that nothing is told of defaults.
FULL = "vocab_size=9, d_model=64, n_layers=4, n_seq=128, num_experts=0, dropout=0.1"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("LanguageModel(vocab_size=9)", "ResNetBK(MambaKillerConfig(vocab_size=9))"),
        ("LanguageModel()", "ResNetBK(MambaKillerConfig())"),
        ("LanguageModel(vocab_size=9, )", "ResNetBK(MambaKillerConfig(vocab_size=9, ))"),
        ("LanguageModel (vocab_size=9)", "ResNetBK (MambaKillerConfig(vocab_size=9))"),
        ("(LanguageModel)(vocab_size=9)", "(ResNetBK)(MambaKillerConfig(vocab_size=9))"),
        ("LanguageModel(9, 64)", "ResNetBK(MambaKillerConfig(vocab_size=9, d_model=64))"),
        ("LanguageModel(9, 64, n_seq=3)", "ResNetBK(MambaKillerConfig(vocab_size=9, d_model=64, n_seq=3))"),
        ("LanguageModel(9)", "ResNetBK(MambaKillerConfig(vocab_size=9))"),
        ("LanguageModel(vocab_size)", "ResNetBK(MambaKillerConfig(vocab_size=vocab_size))"),
        ("LanguageModel(args.vocab_size)", "ResNetBK(MambaKillerConfig(vocab_size=args.vocab_size))"),
        ("LanguageModel(len(tokens))", "ResNetBK(MambaKillerConfig(vocab_size=len(tokens)))"),
        (
            "LanguageModel(9, 8, 7, 6, 5, 1, 0.1)",
            (
                "ResNetBK(MambaKillerConfig(vocab_size=9, d_model=8, n_layers=7, n_seq=6, num_experts=5, "
                "top_k=1, dropout=0.1))"
            ),
        ),
        ("LanguageModel(dropout_p=0.1)", "ResNetBK(MambaKillerConfig(dropout=0.1))"),
        ("LanguageModel(prime_bump_init=True)", "ResNetBK(MambaKillerConfig(use_prime_bump=True))"),
        ("LanguageModel(num_layers=3)", "ResNetBK(MambaKillerConfig(n_layers=3))"),
        ("LanguageModel(semiseparable_rank=3)", "ResNetBK(MambaKillerConfig(low_rank=3))"),
        ("LanguageModel(use_adaptive_computation=a)", "ResNetBK(MambaKillerConfig(use_act=a))"),
        ("LanguageModel(d_model=8, use_triton_kernel=x())", "ResNetBK(MambaKillerConfig(d_model=8))"),
        ("LanguageModel(use_birman_schwinger=True, d_model=8)", "ResNetBK(MambaKillerConfig(d_model=8))"),
        ("LanguageModel(use_bitnet=False, d_model=8)", "ResNetBK(MambaKillerConfig(d_model=8))"),
        ("LanguageModel(d_model=8, symplectic_dt=0.1)", "ResNetBK(MambaKillerConfig(d_model=8))"),
        ("LanguageModel(num_experts=4)", "ResNetBK(MambaKillerConfig(num_experts=4, top_k=1))"),
        (
            "LanguageModel(num_experts=4, d_model=8)",
            "ResNetBK(MambaKillerConfig(num_experts=4, top_k=1, d_model=8))",
        ),
        ("LanguageModel(num_experts=4, top_k=2)", "ResNetBK(MambaKillerConfig(num_experts=4, top_k=2))"),
        ("LanguageModel(num_experts=0)", "ResNetBK(MambaKillerConfig(num_experts=0))"),
        ("LanguageModel(use_semiseparable=False)", "ResNetBK(MambaKillerConfig())"),
        (
            "LanguageModel(use_semiseparable=True, low_rank=None)",
            "ResNetBK(MambaKillerConfig(use_semiseparable=True, low_rank=None))",
        ),
        ("LanguageModel(use_hybrid_gradient=True)", "ResNetBK(MambaKillerConfig(grad_blend=0.5))"),
        ("LanguageModel(use_hybrid_gradient=False)", "ResNetBK(MambaKillerConfig(grad_blend=0.0))"),
        (
            "LanguageModel(use_hybrid_gradient=blend)",
            "ResNetBK(MambaKillerConfig(grad_blend=0.5 if blend else 0.0))",
        ),
        (
            "LanguageModel(use_hybrid_gradient=True, grad_blend=0.3)",
            "ResNetBK(MambaKillerConfig(grad_blend=0.3))",
        ),
        ("LanguageModel(d_model=8).to(device)", "ResNetBK(MambaKillerConfig(d_model=8)).to(device)"),
        ("f(LanguageModel(d_model=8))", "f(ResNetBK(MambaKillerConfig(d_model=8)))"),
        ("[LanguageModel(d_model=d) for d in ds]", "[ResNetBK(MambaKillerConfig(d_model=d)) for d in ds]"),
        ("LanguageModel(**{'d_model': 8})", "ResNetBK(MambaKillerConfig(**{'d_model': 8}))"),
        ("LanguageModel(**dict(dropout_p=8))", "ResNetBK(MambaKillerConfig(**dict(dropout=8)))"),
        ("LanguageModel({'dropout_p': 8})", "ResNetBK(MambaKillerConfig(**{'dropout': 8}))"),
    ],
)
def test_a_call_with_settings_gets_a_configuration(programs: Any, before: str, after: str) -> None:
    """Keywords, positional arguments and dictionaries go into a configuration, by today's names."""
    assert programs.migrate(f"{IMPORT}x = {before}\n") == f"{TODAY}x = {after}\n"


SEVEN = "9, 8, 7, 6, 0, 1, 0.1"
SEVEN_NAMED = "vocab_size=9, d_model=8, n_layers=7, n_seq=6, num_experts=0, top_k=1, dropout=0.1"
OPERATOR = "False, 0.1, 0, True, 0.02, True, 0.5, on, off, 90.0, 1e5, 4, False, False, 0.1"
OPERATOR_NAMED = (
    "use_scattering_router=False, use_prime_bump=True, prime_bump_scale=0.02, epsilon=0.5, use_mourre=on, "
    "use_lap=off, schatten_threshold=90.0, precision_upgrade_threshold=1e5, k_max=4"
)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("prime_bump_init, scale", "use_prime_bump=prime_bump_init, prime_bump_scale=scale"),
        ("config.prime_bump_init", "use_prime_bump=config.prime_bump_init"),
        ("use_scattering_router", "use_scattering_router=use_scattering_router"),
        ('config["use_scattering_router"], 0.1', 'use_scattering_router=config["use_scattering_router"]'),
        ("False, 0.1, True, 0.03", "use_scattering_router=False, use_prime_bump=True, prime_bump_scale=0.03"),
        ("False, 0.1, 0, True", "use_scattering_router=False, use_prime_bump=True"),
        ("False, prime_bump_init=True", "use_scattering_router=False, use_prime_bump=True"),
        ("True, use_birman_schwinger=False", "use_scattering_router=True"),
        (OPERATOR, OPERATOR_NAMED),
        (f"{OPERATOR}, True", f"{OPERATOR_NAMED}, gradient_checkpointing=True"),
        (f"{OPERATOR}, 'verlet', True", f"{OPERATOR_NAMED}, gradient_checkpointing=True"),
    ],
)
def test_further_positional_arguments_are_those_of_one_version(
    programs: Any, before: str, after: str
) -> None:
    """What they are and are called, and the settings with names, tell the version."""
    migrated = programs.migrate(f"{IMPORT}x = LanguageModel({SEVEN}, {before})\n")
    assert migrated == f"{TODAY}x = ResNetBK(MambaKillerConfig({SEVEN_NAMED}, {after}))\n"


def test_one_call_tells_the_version_of_another(programs: Any) -> None:
    """A program is written for one version, and what a name is given is seen."""
    before = f"{IMPORT}SCALE = 0.1\na = LanguageModel(k_max=2)\nb = LanguageModel({SEVEN}, True, SCALE)\n"
    after = f"b = ResNetBK(MambaKillerConfig({SEVEN_NAMED}, use_scattering_router=True))\n"
    assert programs.migrate(before).endswith(after)


def test_positional_arguments_of_the_newer_class(programs: Any) -> None:
    """Those of `ResNetBK` and of its configuration are in the order of the configuration."""
    head = "from src.models.resnet_bk import ResNetBK\nfrom src.utils.config import MambaKillerConfig\n"
    text = f"{head}a = ResNetBK(9, 8, 7, 6, 0.5, True)\nb = ResNetBK(MambaKillerConfig(9, 8, n_layers=2))\n"
    assert programs.migrate(text) == (
        f"{TODAY}a = ResNetBK(MambaKillerConfig(vocab_size=9, d_model=8, n_layers=7, n_seq=6, epsilon=0.5, "
        "use_prime_bump=True))\nb = ResNetBK(MambaKillerConfig(vocab_size=9, d_model=8, n_layers=2))\n"
    )
    assert "setting 5 without a name is num_experts or epsilon" in "".join(
        programs.todos(f"{head}a = ResNetBK(9, 8, 7, 6, 4)\n")
    )


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        ("LanguageModel(*sizes)", "which settings the positional arguments are can't be seen"),
        (
            "LanguageModel(1, 2, 3, 4, 5, 6, 7, on)",
            "setting 8 without a name is prime_bump_init or use_scattering_router",
        ),
        (
            "LanguageModel(1, 2, 3, 4, 5, 6, 0.1, True, 0.02)",
            "setting 8 without a name is prime_bump_init or use_scattering_router",
        ),
        (
            f"LanguageModel({SEVEN}, {OPERATOR}, further)",
            "setting 23 without a name is use_gradient_checkpointing or symplectic_mode",
        ),
        (
            f"LanguageModel({SEVEN}, {OPERATOR}, True, symplectic_mode='euler')",
            "no version took its 23 settings without names in this",
        ),
        ("LanguageModel(1, 2, 3, 4, 5, 6, 7, 8)", "no version took its 8 settings without names in this"),
        (f"LanguageModel({', '.join('a' * 30)})", "no version took 30 settings without names"),
        ("LanguageModel(use_symplectic=True)", "resnet_bk has no setting use_symplectic"),
        ("LanguageModel(use_symplectic=on, symplectic_dt=1)", "no setting use_symplectic, symplectic_dt"),
        ("LanguageModel(use_lap_stability=not off)", "resnet_bk has no setting use_lap_stability"),
        ("LanguageModel(dropout=1, dropout_p=2)", "dropout would be given twice"),
        ("LanguageModel(model_config)", "it takes a configuration already"),
        ("LanguageModel(self.config)", "it takes a configuration already"),
        (
            "LanguageModel(something)",
            "whether it gets the vocabulary's size or a configuration can't be seen",
        ),
    ],
)
def test_a_call_that_can_t_be_decided_stays(programs: Any, call: str, reason: str) -> None:
    """It is left with its import, and told with its line and the reason."""
    text = f"{IMPORT}\nx = {call}\n"
    assert programs.migrate(text) == text
    (told,) = programs.todos(text)
    assert told.startswith("3: LanguageModel was left as it is: ")
    assert reason in told


def test_only_calls_that_can_be_decided_change(programs: Any) -> None:
    """One that can't keeps the older import, and the other gets today's beside it."""
    text = f"{IMPORT}a = LanguageModel({FULL})\nb = LanguageModel(*sizes)\n"
    assert programs.migrate(text) == (
        f"{IMPORT}{TODAY}a = ResNetBK(MambaKillerConfig({FULL}))\nb = LanguageModel(*sizes)\n"
    )


def test_comments_and_layout_stay(programs: Any) -> None:
    """Only what changes changes; the comment of a setting that goes keeps its place."""
    before = """\
    from src.models.resnet_bk import LanguageModel  # the model

    model = LanguageModel(  # small
        vocab_size = 1000,   # words
        d_model=64,

        # mixing
        use_birman_schwinger=False,  # simple mode
        dropout_p=0.1
    ).to( device )  # there
    """
    after = """\
    from resnet_bk import MambaKillerConfig, ResNetBK  # the model

    model = ResNetBK(MambaKillerConfig(  # small
        vocab_size = 1000,   # words
        d_model=64,

        # mixing
        # simple mode
        dropout=0.1
    )).to( device )  # there
    """
    assert programs.migrate(dedent(before)) == dedent(after)


def test_settings_that_are_not_given_are_told(programs: Any) -> None:
    """What a model gets without a word has changed: that is told with both values."""
    (told,) = programs.told(f"{IMPORT}LanguageModel(vocab_size=9, d_model=3, num_experts=0)\n")
    assert told == (
        "warning 2: settings that are not given have other defaults now: n_layers 4 -> 8, n_seq 128 -> 2048, "
        "dropout 0.1 -> 0"
    )
    assert programs.told(f"{IMPORT}LanguageModel({FULL})\n") == []


# Dictionaries of settings ---------------------------------------------------------------------------------


def test_a_dictionary_is_changed_where_it_stands(programs: Any) -> None:
    """Its keys get today's names, and those that say nothing any more go; what is read stays readable."""
    before = """\
    from src.models.resnet_bk import LanguageModel
    config = {
        'vocab_size': 1000,
        "dropout_p": 0.1,  # not much
        'use_birman_schwinger': True,
        'num_experts': 4,
    }
    model = LanguageModel(**config)
    print(config['vocab_size'], config.get("n_seq"))
    """
    after = """\
    from resnet_bk import MambaKillerConfig, ResNetBK
    config = {
        'vocab_size': 1000,
        "dropout": 0.1,  # not much
        'num_experts': 4,
    }
    model = ResNetBK(MambaKillerConfig(**config, top_k=1))
    print(config['vocab_size'], config.get("n_seq"))
    """
    assert programs.migrate(dedent(before)) == dedent(after)


def test_a_dictionary_for_two_models_is_changed_once(programs: Any) -> None:
    """Both models take the same dictionary afterwards."""
    before = f"{IMPORT}c = dict(dropout_p=1)\na = LanguageModel(**c)\nb = LanguageModel(d_model=2, **c)\n"
    assert programs.migrate(before) == (
        f"{TODAY}c = dict(dropout=1)\na = ResNetBK(MambaKillerConfig(**c))\n"
        "b = ResNetBK(MambaKillerConfig(d_model=2, **c))\n"
    )


@pytest.mark.parametrize(
    "rest",
    [
        "config = checkpoint['config']\nLanguageModel(**config)",
        "config = {'dropout_p': 1}\nconfig['d_model'] = 2\nLanguageModel(**config)",
        "config = {'dropout_p': 1}\nconfig.update(more)\nLanguageModel(**config)",
        "config = {'dropout_p': 1}\nsave(config)\nLanguageModel(**config)",
        "config = {'dropout_p': 1}\nprint(config['dropout_p'])\nLanguageModel(**config)",
        "config = {'dropout_p': 1, **more}\nLanguageModel(**config)",
        "config = {'d_model': 1}\nif x:\n    config = {'d_model': 2}\nLanguageModel(**config)",
        "def make(**config):\n    return LanguageModel(vocab_size=3, **config)",
    ],
)
def test_settings_that_can_t_be_seen_go_to_the_older_class(programs: Any, rest: str) -> None:
    """`LanguageModel` of `resnet_bk` takes them, whatever their names are; it is told, and the call stays."""
    after = programs.migrate(f"{IMPORT}{rest}\n")
    assert after == f"from resnet_bk import LanguageModel\n{rest}\n"
    (told,) = programs.todos(f"{IMPORT}{rest}\n")
    assert "LanguageModel of resnet_bk takes older names too, and is deprecated" in told


def test_members_of_the_older_class_have_today_s_names_too(programs: Any) -> None:
    """`LanguageModel` of `resnet_bk` gives a tensor as before, and has the members of `ResNetBK`."""
    make = "m = LanguageModel(**config)\n"
    before = f"{IMPORT}{make}logits = m(x)\nprint(m.n_seq)\nm.layer_norm_final\n"
    assert programs.migrate(before) == (
        f"from resnet_bk import LanguageModel\n{make}"
        "logits = m(x)\nprint(m.config.n_seq)\nm.layer_norm_final\n"
    )
    assert programs.todos(before)[1:] == ["5: a ResNetBK has no layer_norm_final"]


def test_a_dictionary_that_is_up_to_date_may_be_used_by_others(programs: Any) -> None:
    """Nothing in it changes, so nobody else can notice."""
    before = f"{IMPORT}config = {{'d_model': 1}}\nsave(config)\nm = LanguageModel(**config)\n"
    assert programs.migrate(before) == (
        f"{TODAY}config = {{'d_model': 1}}\nsave(config)\nm = ResNetBK(MambaKillerConfig(**config))\n"
    )


def test_a_class_of_the_guide_with_unseen_settings_becomes_the_older_class(programs: Any) -> None:
    """`ResNetBK(**settings)` works no longer; `LanguageModel` takes them."""
    before = "from src.models.resnet_bk import ResNetBK\nm = ResNetBK(**settings)\n"
    assert programs.migrate(before) == "from resnet_bk import LanguageModel\nm = LanguageModel(**settings)\n"


# What a model gives ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("logits = m(x)", "logits = m(x).logits"),
        ("logits = m.forward(x)", "logits = m.forward(x).logits"),
        ("loss = f(m(x), y)", "loss = f(m(x).logits, y)"),
        ("n = m(x).shape", "n = m(x).logits.shape"),
        ("m(x)", "m(x)"),
        ("_ = m(x)", "_ = m(x)"),
        ("n = m(x).logits", "n = m(x).logits"),
        ("out = m(x)\nprint(out.logits)", "out = m(x)\nprint(out.logits)"),
        ("out = m(x, labels=x)", "out = m(x, labels=x)"),
        ("m = m.to('cpu').eval()\ny = m(x)", "m = m.to('cpu').eval()\ny = m(x).logits"),
        ("n = torch.compile(m)\ny = n(x)", "n = torch.compile(m)\ny = n(x).logits"),
        ("y = (m if c else m)(x)", "y = (m if c else m)(x).logits"),
        ("def f():\n    return m(x)\nf()", "def f():\n    return m(x).logits\nf()"),
        ("def f(net):\n    return net(x)\nf(m)", "def f(net):\n    return net(x).logits\nf(m)"),
        ("def f(*, net):\n    return net(x)\nf(net=m)", "def f(*, net):\n    return net(x).logits\nf(net=m)"),
        ("def f():\n    return m\ny = f()(x)", "def f():\n    return m\ny = f()(x).logits"),
        ("y = other(x)", "y = other(x)"),
        ("def f(net):\n    return net(x)", "def f(net):\n    return net(x)"),
        ("print(m.d_model, m.n_seq)", "print(m.config.d_model, m.config.n_seq)"),
        ("e = m.token_embedding", "e = m.get_input_embeddings()"),
        ("n = sum(p.numel() for p in m.parameters())", "n = sum(p.numel() for p in m.parameters())"),
    ],
)
def test_the_logits_are_taken_of_what_a_model_gives(programs: Any, before: str, after: str) -> None:
    """Wherever a program shows that it calls such a model, and needs its result, the tensor is taken."""
    text = f"import torch\n{IMPORT}m = LanguageModel({FULL})\n{before}\n"
    assert programs.migrate(text) == (
        f"import torch\n{TODAY}m = ResNetBK(MambaKillerConfig({FULL}))\n{after}\n"
    )
    assert programs.told(text) == []


def test_a_model_in_a_wrapper_is_followed(programs: Any) -> None:
    """Attributes of `self` are followed through the methods of a class."""
    before = f"""\
    from src.models.resnet_bk import LanguageModel

    class Wrapper(Module):
        def __init__(self):
            super().__init__()
            self.model = LanguageModel({FULL})

        def forward(self, x):
            return self.model(x)

        def size(self):
            return self.model.d_model
    """
    after = programs.migrate(dedent(before))
    assert "self.model = ResNetBK(MambaKillerConfig(" in after
    assert "return self.model(x).logits" in after
    assert "return self.model.config.d_model" in after


def test_a_model_of_a_fixture_is_followed(programs: Any) -> None:
    """Tests get their model by the name of a fixture."""
    before = f"""\
    import pytest
    from src.models.resnet_bk import LanguageModel

    @pytest.fixture
    def model():
        return LanguageModel({FULL})

    def test_shape(model):
        assert model(x).shape == (1, 2, 3)
    """
    assert "assert model(x).logits.shape == (1, 2, 3)" in programs.migrate(dedent(before))


@pytest.mark.parametrize(
    ("rest", "told"),
    [
        ("train(m)", "3: train() gets a model: its result is an object now"),
        ("models = [m]", "3: a model goes out of sight here"),
        ("trainer.model = m", "3: a model goes out of sight here"),
        ("def f():\n    return m", "4: whoever calls this gets a model"),
        ("if c:\n    m = Other()\ny = m(x)", "5: where m is a ResNetBK, its result is an object now"),
        ("logits, loss = m(x)", "3: it is taken apart here"),
        ("print(m.blocks)", "3: a ResNetBK has no blocks"),
        ("m.d_model = 3", "3: a ResNetBK has no d_model"),
        ("def f(n):\n    return n(x)\nf(m)\nf(other)", "5: f() gets a model"),
    ],
)
def test_what_can_t_be_seen_of_a_model_is_told(programs: Any, rest: str, told: str) -> None:
    """Where a model goes out of sight, or may be something else, its calls stay, and the line is told."""
    text = f"{IMPORT}m = LanguageModel({FULL})\n{rest}\n"
    assert programs.migrate(text) == f"{TODAY}m = ResNetBK(MambaKillerConfig({FULL}))\n{rest}\n"
    assert any(each.startswith(told) for each in programs.todos(text)), programs.todos(text)


# The class itself -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("def f(m: LanguageModel) -> LanguageModel: ...", "def f(m: ResNetBK) -> ResNetBK: ..."),
        ("def f(m: 'LanguageModel'): ...", "def f(m: 'ResNetBK'): ..."),
        ("def f(m: 'LanguageModel | None'): ...", "def f(m: 'ResNetBK | None'): ..."),
        ("isinstance(m, LanguageModel)", "isinstance(m, ResNetBK)"),
        ("isinstance(m, (LanguageModel, Other))", "isinstance(m, (ResNetBK, Other))"),
    ],
)
def test_mentions_of_the_type_become_the_new_class(programs: Any, before: str, after: str) -> None:
    """Type hints and tests of the type are about what is made elsewhere, which is a `ResNetBK` then."""
    assert programs.migrate(f"{IMPORT}{before}\n") == f"from resnet_bk import ResNetBK\n{after}\n"


@pytest.mark.parametrize(
    "use", ["class Mine(LanguageModel): ...", "build(LanguageModel)", "kinds = {'a': LanguageModel}"]
)
def test_a_class_that_is_passed_on_stays_the_older_one(programs: Any, use: str) -> None:
    """Who makes models of it can't be seen, so it is `LanguageModel` of `resnet_bk`, and told."""
    assert programs.migrate(f"{IMPORT}{use}\n") == f"from resnet_bk import LanguageModel\n{use}\n"
    assert "keeps LanguageModel, of resnet_bk" in programs.todos(f"{IMPORT}{use}\n")[0]


# Left alone -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "from flair.models import LanguageModel\nm = LanguageModel(vocab_size=3)\n",
        "from .model import LanguageModel\nm = LanguageModel(vocab_size=3)\n",
        "from models import LanguageModel\nm = LanguageModel(vocab_size=3)\n",
        "class LanguageModel: ...\nm = LanguageModel(vocab_size=3)\n",
        "m = LanguageModel(vocab_size=3)\n",
        "import torch\ntorch.manual_seed(3)\n",
        (
            "from resnet_bk import MambaKillerConfig, ResNetBK\n"
            "m = ResNetBK(MambaKillerConfig(d_model=3))\ny = m(x)\n"
        ),
        "from resnet_bk import ResNetBK\ndef f(config):\n    return ResNetBK(config)\n",
        "import resnet_bk\nm = resnet_bk.ResNetBK(resnet_bk.preset('resnet-bk-1m'))\n",
        "from resnet_bk import LanguageModel\nm = LanguageModel(**settings)\n",
        "'''from src.models.resnet_bk import LanguageModel\nLanguageModel(vocab_size=3)'''\n",
    ],
)
def test_look_alikes_and_programs_of_today_stay(programs: Any, text: str) -> None:
    """What only has the same name, and what is written as it is today, keeps every byte."""
    assert programs.migrate(text) == text


@pytest.mark.parametrize(
    "name",
    ["ACTLanguageModel", "KoopmanLanguageModel", "EarlyExitLanguageModel", "PhysicsInformedLanguageModel"],
)
def test_other_models_keep_their_settings(programs: Any, name: str) -> None:
    """Models that only their name ties to the older class keep their keywords."""
    text = (
        f"from src.models.other import {name}\n"
        f"from src.models.resnet_bk import LanguageModel\nm = {name}(d_model=3)\n"
    )
    assert f"m = {name}(d_model=3)\n" in programs.migrate(text)


def test_a_parameter_hides_the_class(programs: Any) -> None:
    """A name means what its scope says."""
    text = f"{IMPORT}def f(LanguageModel):\n    return LanguageModel(vocab_size=3)\n"
    assert programs.migrate(text) == text.replace("src.models.resnet_bk", "resnet_bk")


def test_half_migrated_programs_are_brought_on(programs: Any) -> None:
    """Settings for the classes of `resnet_bk` are what its own errors send people here for."""
    before = "import resnet_bk\nm = resnet_bk.LanguageModel(d_model=3)\nn = resnet_bk.ResNetBK(n_layers=2)\n"
    assert programs.migrate(before) == (
        "import resnet_bk\nm = resnet_bk.ResNetBK(resnet_bk.MambaKillerConfig(d_model=3))\n"
        "n = resnet_bk.ResNetBK(resnet_bk.MambaKillerConfig(n_layers=2))\n"
    )
