"""The report of a run: its text, its escapes, and the runs that it refuses."""

import base64
import html
import io
import json
import re
import shlex
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image
from report_runs import HOSTILE, write_images, write_run

import train
from scripts.report import __main__ as report
from scripts.report import experiment, reproduce, task_data
from trainers.engine import command_line
from trainers.engine.config import differences, load

# of photos: two of class 0, one of class 1
WRONG = {0: (1, 0.8), 1: (2, 0.95), 5: (0, 0.6)}


class Elements(HTMLParser):
    """All tags of a page with their attributes, and its text."""

    def __init__(self, page: str):
        super().__init__()
        self.tags, self.open, self.text = [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "br", "input"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"{tag} is closed out of order"

    def handle_data(self, data):
        if self.open[-1:] != ["style"]:
            self.text.append(data)

    def named(self, name: str) -> list[dict]:
        return [attributes for tag, attributes in self.tags if tag == name]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("own")
    write_images(root)
    return root


@pytest.fixture(autouse=True)
def beside_the_images(root, monkeypatch):
    monkeypatch.chdir(root)


@pytest.fixture(scope="module")
def run(root, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        return write_run(tmp_path_factory.mktemp("runs") / "two", root, wrong=WRONG)


@pytest.fixture(scope="module")
def page(run, root):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        return report.write([run], run.parent / "page.html").read_text(encoding="utf-8")


def test_the_page_is_whole_and_needs_nothing_else(page):
    elements = Elements(page)
    assert elements.open == [] and page.startswith("<!DOCTYPE html>")
    assert not {"script", "link", "iframe", "object"} & {
        name for name, _ in elements.tags
    }
    addresses = [
        a[key] for _, a in elements.tags for key in ("src", "href") if a.get(key)
    ]
    assert addresses and all(
        address.startswith(("data:image/jpeg;base64,", "#")) for address in addresses
    )
    assert "url(" not in page and "@import" not in page
    targets = {a["id"] for _, a in elements.tags if "id" in a}
    assert {address[1:] for address in addresses if address[0] == "#"} <= targets


def test_names_are_text_whatever_they_hold(page):
    elements = Elements(page)
    assert "<img src=x" not in page and HOSTILE in "".join(elements.text)
    assert all("onerror" not in attributes for _, attributes in elements.tags)
    assert "test image of class " + HOSTILE in [
        image["alt"] for image in elements.named("img")
    ]


def test_results_and_their_mean(page):
    text = " ".join(Elements(page).text)
    # 3 of 12 wrong; none
    assert "photos 50.0 55.0 75.0" in text and "stones 50.0 55.0 100.0" in text
    assert "mean 50.0 55.0 87.5" in text and "100.0 – 100.0" in text
    assert "2 of 2 tasks got better, 0 got worse" in "".join(Elements(page).text)


def test_mistakes_are_the_most_confident_first(page):
    section = page.split('id="task-photos"', 1)[1].split("<section", 1)[0]
    assert "Mistakes (3 most confident of 3; 12 test images, misclassified)" in section
    found = re.findall(r"predicted: (.*?) \((\d+)\N{NO-BREAK SPACE}%\)", section)
    assert [int(percent) for _, percent in found] == [95, 80, 60]
    true = [
        (html.unescape(name), percent)
        for name, percent in re.findall(r"true: (.*?) \((\d+)", section)
    ]
    assert true == [(HOSTILE, "2"), (HOSTILE, "10"), ("green", "20")]
    assert "No mistake on 8 test images." in page.split('id="task-stones"', 1)[1]


def test_weakest_classes(page):
    section = page.split('id="task-photos"', 1)[1].split("<details", 1)[0]
    rows = re.findall(
        r'<th scope="row">([^<]*)</th><td class="num">([\d.]+)</td><td class="num">(\d+)</td>',
        section,
    )
    assert [(value, count) for _, value, count in rows] == [
        ("50.0", "4"),
        ("75.0", "4"),
    ]


def test_the_confusion_matrix_counts_true_and_predicted_classes(page):
    section = (
        page.split('id="task-photos"', 1)[1]
        .split("Confusion matrix", 1)[1]
        .split("</table>", 1)[0]
    )
    rows = [re.findall(r"<td>(.*?)</td>", row) for row in section.split("<tr>")[2:]]
    counts = [[re.sub("<.*?>", "", cell) for cell in row] for row in rows]
    assert counts == [["2", "1", "1"], ["1", "3", ""], ["", "", "4"]]
    assert section.count('class="heat own"') == 3
    assert "Confusion matrix" not in page.split('id="task-stones"', 1)[1]


def test_of_many_classes_the_worst_pairs_are_shown():
    targets = np.repeat(np.arange(30), 2)
    probabilities = np.eye(30)[targets]
    probabilities[[0, 1, 4]] = np.eye(30)[[7, 7, 9]]
    found = task_data.count_confusions(
        [f"c{k}" for k in range(30)], targets, probabilities
    )
    assert found.counts is None and found.pairs == [("c0", "c7", 2), ("c2", "c9", 1)]
    assert task_data.count_confusions(["a"] * 30, targets, np.eye(30)[targets]) is None


def test_mistakes_have_a_rank_in_every_order(page):
    section = page.split('id="task-photos"', 1)[1].split("<section", 1)[0]
    assert re.findall(r'name="sort-task-photos" value="(\w+)"', section) == [
        "confidence",
        "true",
        "predicted",
        "file",
    ]
    ranks = re.findall(
        r"--confidence:(\d);--true:(\d);--predicted:(\d);--file:(\d);", section
    )
    assert ["".join(column) for column in zip(*ranks, strict=True)] == [
        "012",
        "001",
        "210",
        "102",
    ]
    assert "test/green/1.png" in section


def test_zero_shot_scores_that_the_run_has_not_written_are_left_out(page):
    assert "zero-shot (%)" not in page


def test_custom_images_beside_the_run_are_found_from_any_folder(
    root, tmp_path, monkeypatch
):
    project = tmp_path / "project"
    shutil.copytree(root / "photos", project / "photos")
    folder = write_run(project / "output" / "run", root, two_stages=False, wrong=WRONG)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    page = report.write([folder]).read_text(encoding="utf-8")
    assert (
        "Mistakes (3 most confident of 3" in page
        and "Confusion matrix" in page
        and page.count("<img") == 15
    )
    shutil.move(project / "photos", tmp_path / "elsewhere" / "photos")
    (tmp_path / "nowhere" / "photos").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "nowhere")
    assert "--root names its folder" in report.write([folder]).read_text(
        encoding="utf-8"
    )
    page = report.write([folder], root=str(tmp_path / "elsewhere")).read_text(
        encoding="utf-8"
    )
    assert page.count("<img") == 15 and str(tmp_path) not in page


def test_thumbnails_are_small_images_of_the_draw(page, run):
    record = json.loads((run / "adapt/photos/fewshot/photos.json").read_text())
    section = page.split('id="task-photos"', 1)[1].split("Mistakes", 1)[0]
    images = [image["src"] for image in Elements("<p>" + section).named("img")]
    # 4 of 5 per class; the fifth is for validation
    assert len(images) == len(record["train"]) == 12
    for source in images:
        content = base64.b64decode(source.split(",", 1)[1])
        assert Image.open(io.BytesIO(content)).size == (72, 43)


def test_curves_mark_the_first_best_epoch(run):
    read = experiment.read_experiment(run)
    assert read.stages[0].curves.loss[1] == (2, 1.0)
    assert read.stages[0].curves.val["mean"] == [
        (1, 40.0),
        (2, 70.0),
        (3, 70.0),
        (4, 60.0),
    ]
    page = report.write([run], run.parent / "again.html").read_text(encoding="utf-8")
    assert (
        "photos: validation 40.0 to 60.0 %, loss 2.00 to 0.50 in epochs 1 to 4, epoch 2 is kept"
        in page
    )


def test_the_command_gives_the_same_configuration(run):
    read = experiment.read_experiment(run)
    words = shlex.split(reproduce.command(read, reproduce.changes(read.cfg)))
    assert words[:2] == ["python", "train.py"] and "OPTIM.LR" in words
    cfg = command_line.configuration(train.arguments().parse_args(words[2:]))
    # train.py sets it to the first task
    assert set(differences(cfg, load(run / "config.yaml"))) <= {"DATASET.NAME"}


def test_a_plain_run_and_its_default_place(root, tmp_path, capsys):
    folder = write_run(tmp_path / "plain", root, two_stages=False)
    assert report.main([str(folder)]) == 0
    assert "report.html" in capsys.readouterr().out
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "Source tasks" not in page and 'id="task-photos"' in page
    assert not list(folder.glob(".*"))


def test_without_the_data_the_page_says_so(run, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert report.main(shlex.split(f"{run} -o page.html")) == 0
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    # two targets, one source
    assert page.count("The data set was not read") == 3 and "<img" not in page
    assert str(tmp_path) not in page and str(run) not in page
    assert "75.0" in page and "Traceback" not in capsys.readouterr().err


def test_data_of_another_test_set_are_noticed(run, root, tmp_path, monkeypatch):
    shutil.copytree(root / "photos", tmp_path / "photos")
    shutil.copytree(root / "stones", tmp_path / "stones")
    shutil.rmtree(tmp_path / "stones" / "test" / "grey")
    (tmp_path / "stones" / "test" / "grey").mkdir()
    shutil.copy(root / "stones/test/grey/0.png", tmp_path / "stones/test/grey/0.png")
    monkeypatch.chdir(tmp_path)
    page = report.write([run], tmp_path / "page.html").read_text(encoding="utf-8")
    assert (
        "The data set has 5 test images and 2 classes, the predictions 8 and 2." in page
    )


def test_seeds_of_one_experiment(run, root, tmp_path):
    other = write_run(tmp_path / "second", root, seed=1, wrong={0: (1, 0.8)})
    page = report.write([run, other], tmp_path / "page.html").read_text(
        encoding="utf-8"
    )
    text = " ".join(Elements(page).text)
    assert (
        "photos 75.0 91.7 83.3 ± 11.8" in text and "mean 87.5 95.8 91.7 ± 5.9" in text
    )
    assert "MVPT on 2 tasks, 5 shots, 2 seeds" in text


def test_transfer_matrix(run, tmp_path):
    matrix = tmp_path / "transfer.csv"
    matrix.write_text("source,a,b\na,50,20\nb,70,\n")
    page = report.write([run], tmp_path / "page.html", transfer=tmp_path).read_text(
        encoding="utf-8"
    )
    section = page.split('id="transfer"', 1)[1].split("</section>", 1)[0]
    cells = re.findall(r'class="heat( own)?" style="--heat:([\d.]+)">([\d.]+)', section)
    assert cells == [
        (" own", "0.00", "50.0"),
        ("", "0.50", "20.0"),
        ("", "1.00", "70.0"),
    ]
    matrix.write_text("source,a,b\na,50\n")
    with pytest.raises(
        ValueError, match="transfer.csv: row 'a' has 1 scores, there are 2 columns"
    ):
        report.write([run], tmp_path / "page.html", transfer=matrix)


def refused(capsys, words: str) -> str:
    assert report.main(shlex.split(words)) == 2
    captured = capsys.readouterr()
    (line,) = [line for line in captured.err.splitlines() if line.startswith("error: ")]
    assert "Traceback" not in captured.err and captured.err.endswith(line + "\n")
    return line


def test_wrong_input_is_one_line(run, root, tmp_path, capsys):
    (tmp_path / "empty" / "inner").mkdir(parents=True)
    assert "holds no results (no results.json)" in refused(capsys, f"{tmp_path}/empty")
    shutil.copy(run / "results.json", tmp_path / "empty" / "inner")
    assert "there are results in inner" in refused(capsys, f"{tmp_path}/empty")
    assert "no folder" in refused(capsys, f"{tmp_path}/nowhere")
    assert "no configuration (no config.yaml)" in refused(
        capsys, f"{tmp_path}/empty/inner"
    )
    assert "seed 0 is given twice" in refused(capsys, f"{run} {run}")
    assert "is a folder" in refused(capsys, f"{run} -o {tmp_path}")
    assert "--transfer" in refused(capsys, f"{run} --transfer {tmp_path}/no.csv")
    plain = write_run(tmp_path / "plain", root, seed=1, two_stages=False)
    assert "do not have the same tasks: stones" in refused(capsys, f"{run} {plain}")


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        "{",
        '[{"task": "a"}]',
        '[{"task": "a", "metric": "accuracy", "score": null}]',
        '[{"task": "a", "metric": "accuracy", "score": NaN}]',
    ],
)
def test_damaged_results_are_named(run, tmp_path, capsys, content):
    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "run" / "results.json").write_text(content)
    assert "results.json" in refused(capsys, f"{tmp_path}/run -o {tmp_path}/page.html")
    assert not (tmp_path / "page.html").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({}, "was not scored (TEST.NO_TEST True): a report needs scores of a test"),
        (
            {"score": 50.0, "split": "val"},
            "is of its val images (TEST.SPLIT val), not of a test",
        ),
    ],
)
def test_a_run_without_a_test_is_refused(run, tmp_path, capsys, more, message):
    shutil.copytree(run, tmp_path / "run")
    record = {
        "task": "cells",
        "metric": "accuracy",
        "trainer": "CoOp",
        "seed": 0,
        "shots": 1,
    } | more
    (tmp_path / "run" / "results.json").write_text(json.dumps([record]))
    assert message in refused(capsys, f"{tmp_path}/run -o {tmp_path}/page.html")


def test_a_damaged_prediction_file_is_said_on_the_page(run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "run/adapt/photos/predictions/seed0_photos.json").write_text("{")
    (tmp_path / "run/adapt/stones/predictions/seed0_stones.json").unlink()
    page = report.write([tmp_path / "run"]).read_text(encoding="utf-8")
    assert (
        "The prediction file is damaged." in page
        and "There is no prediction file." in page
    )


def test_zero_shot_scores_of_classes_are_read_from_the_run(root, tmp_path):
    folder = write_run(tmp_path / "run", root, wrong=WRONG)
    table = folder / "adapt" / "photos" / "results" / "classes_photos.csv"
    table.parent.mkdir()
    lines = [
        f"{name},4,0.0,{score}"
        for name, score in zip(("red", "green", "blue"), (12.5, 37.5, ""), strict=True)
    ]
    table.write_text("\n".join(["class,test_images,accuracy,zero_shot", *lines]) + "\n")
    stage = experiment.read_experiment(folder).units()[0][0]
    assert (
        stage.zero_shot_of_classes("photos") == {0: 12.5, 1: 37.5}
        and stage.zero_shot_of_classes("stones") == {}
    )
    page = report.write([folder]).read_text(encoding="utf-8")
    section = page.split('id="task-photos"', 1)[1].split("<section", 1)[0]
    assert "zero-shot (%)" in section and "12.5" in section and "37.5" in section
    assert "zero-shot (%)" not in report.write(
        [folder], with_zero_shot=False
    ).read_text(encoding="utf-8")
    table.write_text("class,test_images,accuracy,zero_shot\nred,4,0.0,many\n")
    assert stage.zero_shot_of_classes("photos") == {}


def test_the_page_says_what_is_below_zero_shot(root, tmp_path):
    folder = write_run(tmp_path / "run", root, wrong=WRONG)
    records = json.loads((folder / "results.json").read_text())
    records[0]["zero_shot"] = records[0]["score"] + 1.5
    (folder / "results.json").write_text(json.dumps(records))
    page = report.write([folder]).read_text(encoding="utf-8")
    assert (
        f"1 of {len(records)} tasks is more than a point below zero-shot: {records[0]['task']}."
        in page
    )


@pytest.mark.parametrize("lacking", [[0], [0, 1]])
@pytest.mark.parametrize("two_stages", [False, True])
def test_a_run_without_zero_shot_scores(root, tmp_path, two_stages, lacking):
    folder = write_run(tmp_path / "run", root, wrong=WRONG, two_stages=two_stages)
    records = json.loads((folder / "results.json").read_text())
    for number in lacking[: len(records)]:
        del records[number]["zero_shot"]
    (folder / "results.json").write_text(json.dumps(records))
    page = report.write([folder]).read_text(encoding="utf-8")
    assert f"{records[0]['score']:.1f}" in page
    assert ">zero-shot<" not in page and ">difference<" not in page


def test_the_run_s_versions_are_found_below_the_line_about_its_trainer(root, tmp_path):
    folder = write_run(tmp_path / "run", root, wrong=WRONG)
    log = folder / "log.txt"
    log.write_text(
        "no --trainer given: MAPT, anchored to zero-shot; see README\n"
        + log.read_text()
    )
    found = reproduce.versions(experiment.read_experiment(folder))
    assert found[0] == ("the run", "toolkit/dassl (built in), torch 0.0, CPU")
