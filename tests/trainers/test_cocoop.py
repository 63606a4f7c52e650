"""CoCoOp: its numbers, and that it learns, saves, and loads checkpoints of CoOp's own
trainer.
"""

import json
import shutil

import pytest
import tiny_world
import torch
from torch.nn import functional as F

from prompting.tokens import clip_tokenizer
from trainers.methods.cocoop import CustomCLIP, PromptLearner

NAMES = ["persian_cat", "beagle", "grand piano"]


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    learner = PromptLearner(4, tiny_world.TEXT_WIDTH, 16)
    learner.meta_net.linear1.bias.data.fill_(1.0)  # its one hidden unit is alive
    return CustomCLIP(tiny_world.stub("pocket"), learner, NAMES)


def expected(model: CustomCLIP, images: torch.Tensor) -> torch.Tensor:
    """Return logits (B, C) by the published formula, in plain torch: a full text pass
    for each image.
    """
    clip, learner = model.clip.clip, model.prompt_learner
    texts = [" ".join("X" * 4) + " " + name.replace("_", " ") + "." for name in NAMES]
    tokens = clip_tokenizer()(texts, context_length=40)
    embedded = clip.token_embedding(tokens)
    net, rows = learner.meta_net, []
    for feature in F.normalize(clip.encode_image(images), dim=-1):
        shift = net.linear2(F.relu(net.linear1(feature)))
        context = (learner.ctx + shift).expand(len(NAMES), -1, -1)
        x = (
            torch.cat([embedded[:, :1], context, embedded[:, 5:]], 1)
            + clip.positional_embedding
        )
        x = clip.ln_final(clip.transformer(x, attn_mask=clip.attn_mask))
        x = x[torch.arange(len(NAMES)), tokens.argmax(-1)] @ clip.text_projection
        rows.append(clip.logit_scale.exp() * F.normalize(x, dim=-1) @ feature)
    return torch.stack(rows)


def test_logits_and_gradients_are_those_of_the_published_formula(model):
    images, labels = torch.randn(3, 3, 32, 32), torch.tensor([0, 2, 1])
    parameters = list(model.prompt_learner.parameters())
    found, wanted = model(images), expected(model, images)
    assert (found - wanted).abs().max() < 1e-4
    one = torch.autograd.grad(F.cross_entropy(found, labels), parameters)
    two = torch.autograd.grad(F.cross_entropy(wanted, labels), parameters)
    for mine, other in zip(one, two, strict=True):
        assert (mine - other).norm() <= 1e-4 * other.norm()
        assert other.norm() > 0


def test_its_parameters_have_cocoop_s_names_and_nothing_else_trains(model):
    names = ["ctx", "meta_net.linear1.weight", "meta_net.linear1.bias"]
    names += ["meta_net.linear2.weight", "meta_net.linear2.bias"]
    assert list(model.prompt_learner.state_dict()) == names
    trainable = {
        name for name, parameter in model.named_parameters() if parameter.requires_grad
    }
    assert trainable == {f"prompt_learner.{name}" for name in names}


@pytest.fixture(scope="module")
def trained(main, tmp_path_factory):
    """Return a run's folder."""
    out = tmp_path_factory.mktemp("cocoop") / "run"
    argv = "--trainer CoCoOp --dataset toy-pets --shots 4 TRAINER.COCOOP.N_CTX 4"
    assert main(f"--output-dir {out} {argv}") == 0
    return out


@pytest.mark.parametrize("ctx", ["ctx", "cocoop_ctx"])
def test_it_loads_what_it_and_the_trainers_of_coop_and_the_reference_saved(
    trained, tmp_path, build, ctx
):
    stored = torch.load(
        trained / "prompt_learner" / "model-best.pth.tar", weights_only=True
    )
    state = {
        name.replace("ctx", ctx): value.half()
        for name, value in stored["state_dict"].items()
    }
    state |= {
        "token_prefix": torch.zeros(3, 1, 32),
        "token_suffix": torch.zeros(3, 35, 32),
    }
    (tmp_path / "prompt_learner").mkdir()
    # a pickled object
    scheduler = torch.optim.lr_scheduler.ConstantLR(torch.optim.SGD([torch.zeros(1)]))
    torch.save(
        {"state_dict": state, "epoch": 2, "scheduler": scheduler},
        tmp_path / "prompt_learner" / "model-best.pth.tar",
    )
    trainer = build("CoCoOp", "", "DATASET.NAME", "toy-pets", "TRAINER.COCOOP.N_CTX", 4)
    learner = trainer.model.prompt_learner
    before = {name: value.clone() for name, value in learner.state_dict().items()}
    for folder in (trained, tmp_path):
        learner.load_state_dict(before)
        trainer.load_model(str(folder))
        for name, value in learner.state_dict().items():
            torch.testing.assert_close(
                value, stored["state_dict"][name], rtol=1e-3, atol=1e-4
            )
        assert not torch.equal(learner.ctx, before["ctx"])


def test_another_backbone_or_preprocessing_is_refused(trained, build, tmp_path):
    run = shutil.copytree(trained, tmp_path / "run")
    file = run / "prompt_learner" / "record.json"
    trainer = build("CoCoOp", "", "DATASET.NAME", "toy-pets", "TRAINER.COCOOP.N_CTX", 4)
    written = json.loads(file.read_text())
    assert written == trainer.record()
    for key, value, message in (
        ("backbone_fingerprint", "0" * 16, "was trained on the backbone pocket"),
        ("activation", "ReLU", "was trained with ReLU"),
        (
            "preprocessing",
            written["preprocessing"] | {"crop": "crop"},
            "another preprocessing: resizing crop, not squash",
        ),
    ):
        file.write_text(json.dumps(written | {key: value}))
        with pytest.raises(ValueError, match=f"record.json: .*{message}"):
            trainer.load_model(str(run))
    file.unlink()  # as official checkpoints are
    trainer.load_model(str(run))


def test_another_length_is_refused(trained, build):
    other = build("CoCoOp", "", "DATASET.NAME", "toy-pets", "TRAINER.COCOOP.N_CTX", 8)
    with pytest.raises(ValueError, match=r"model-best.*(?s:.*)4.*8"):
        other.load_model(str(trained))


def test_words_set_its_length(build):
    trainer = build(
        "CoCoOp",
        "",
        "DATASET.NAME",
        "toy-pets",
        "TRAINER.COCOOP.CTX_INIT",
        "a photo of a",
    )
    embeddings = trainer.backbone.clip.token_embedding.weight
    assert torch.equal(
        trainer.model.prompt_learner.ctx, embeddings[[320, 1125, 539, 320]]
    )


@pytest.mark.parametrize(
    ("opts", "word"),
    [
        ("TRAINER.COCOOP.N_CTX 0", "TRAINER.COCOOP.N_CTX"),
        ("TRAINER.COCOOP.PREC fp8", "TRAINER.COCOOP.PREC"),
    ],
)
def test_wrong_keys_are_named(refuse, opts, word):
    assert word in refuse(f"--trainer CoCoOp --dataset toy-pets --shots 2 {opts}")


def test_several_data_sets_are_one_union_of_classes(world, build, main, tmp_path, root):
    argv = "--trainer CoCoOp --dataset toy-pets,toy-scenes,toy-shapes --shots 2"
    assert (
        main(
            f"--output-dir {tmp_path}/run {argv} TRAINER.COCOOP.N_CTX 4 OPTIM.MAX_EPOCH 1"
        )
        == 0
    )
    from dassl.data.datasets import DATASET_REGISTRY

    name = "toy-pets,toy-scenes,toy-shapes"
    trainer = build("CoCoOp", "", "DATASET.NAME", name, "TRAINER.COCOOP.N_CTX", 4)
    del DATASET_REGISTRY._obj_map[name]
    data = trainer.dm.dataset
    assert data.classnames == [*tiny_world.PETS, *tiny_world.SCENES, *tiny_world.SHAPES]
    assert {
        item.domain: {other.label for other in data.test if other.domain == item.domain}
        for item in data.test
    } == {
        0: {0, 1, 2},
        1: {3, 4, 5, 6},
        2: {7, 8, 9},
    }
    assert len(data.test) == 9 + 7 + 9  # one of the 8 scenes has no label
