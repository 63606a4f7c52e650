"""SoftCPT: the name of the task through training, adaptation and prediction."""

import json

import torch

from prompting import Predictor, PromptedCLIP, load_prompts

SEVERAL = "toy-shapes,toy-pets"
KEYS = "TRAINER.SOFTCPT.TASK_N_CTX 2 TRAINER.SOFTCPT.CLASS_N_CTX 3"


def test_each_task_has_features_made_from_its_name(build):
    trainer = build("MSoftCPT", SEVERAL, shots=3)
    trainer._prepare_training()
    found = trainer._class_features([0, 1], trainer.model.contexts())
    expected = [
        trainer.model.encode_classes(task.classnames, task=task.name)
        for task in trainer.tasks
    ]
    assert torch.equal(found, torch.cat(expected))


def test_evaluation_takes_the_lengths_from_the_prompt(main, tmp_path):
    command = "--trainer SoftCPT --dataset toy-pets --shots 2 --output-dir"
    source, again = tmp_path / "source", tmp_path / "again"
    assert main(f"{command} {source} {KEYS}") == 0
    assert main(f"{command} {again} --eval-only --model-dir {source}") == 0
    (first,) = json.loads((source / "results.json").read_text())
    (evaluated,) = json.loads((again / "results.json").read_text())
    assert evaluated["score"] == first["score"]


def test_a_prompt_of_several_tasks_is_adapted_and_predicts_as_its_run(
    main, stubs, tmp_path
):
    out = tmp_path / "run"
    command = f"--trainer MSoftCPT --source {SEVERAL} --dataset toy-marks --shots 2"
    assert main(f"{command} --output-dir {out} {KEYS}") == 0
    folder = out / "adapt" / "toy-marks"
    prompt, metadata = load_prompts(folder / "prompts.safetensors")
    assert metadata["tasks"] == ["toy-marks"]
    predictor = Predictor(stubs["pocket"], prompt, metadata)
    model = PromptedCLIP(stubs["pocket"].clip, prompt)
    expected = model.encode_classes(["circle", "cross"], task="toy-marks")
    found = predictor.class_features(["circle", "cross"])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
