"""What documents tell people to type works, what they point at exists, nothing is left out."""

import re
import tomllib
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from anticipate.catalog import data_sets
from anticipate.cli import COMMANDS, main
from anticipate.lab.studies import ABLATIONS, STUDY_FILE
from anticipate.training.settings import config_chain
from tests.tiny import QUIET

ROOT = Path(__file__).parent.parent
FOLDERS = ("experiments", "notebooks", "anticipate/datasets", "anticipate/models", "anticipate/nn")
DOCUMENTS = {
    name: (ROOT / name).read_text()
    for name in ("README.md", "CONTRIBUTING.md", *(f"{folder}/README.md" for folder in FOLDERS))
}
README, CONTRIBUTING = DOCUMENTS["README.md"], DOCUMENTS["CONTRIBUTING.md"]
MOST_WORDS = 1500
"""Of README.md; what is longer belongs next to what it is about."""
each_document = pytest.mark.parametrize("name", DOCUMENTS)


def blocks(document, language):
    return re.findall(rf"```{language}\n(.*?)```", DOCUMENTS[document], flags=re.DOTALL)


def write_blocks(document, folder):
    """Write the code blocks of a document that start with the name of a file, as readers would."""
    for language in ("python", "yaml"):
        for text in blocks(document, language):
            if name := re.match(r"# (\w+\.(?:py|yaml))\n", text):
                (folder / name[1]).write_text(text)


def links(document):
    """Return the targets of links and pictures."""
    return re.findall(r"\]\(([^)\s]+)\)", DOCUMENTS[document])


def anchors(text):
    """Return the anchors that code hosts make of headings."""
    headings = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """A folder whose modules are found, as in the current folder of a command."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


@pytest.mark.parametrize("code", blocks("README.md", "python"))
def test_python_of_the_readme_runs(code):
    exec(compile(code, "README.md", "exec"), {})


@pytest.mark.parametrize("text", blocks("README.md", "yaml"))
def test_yaml_of_the_readme_extends_a_shipped_experiment(text, tmp_path):
    content = yaml.safe_load(text)
    file = tmp_path / "mine.yaml"
    file.write_text(
        text.replace(content["extends"], str(ROOT / "experiments" / content["extends"]))
    )
    assert config_chain(file)[-1] == file.resolve()


def fit(*words):
    main(["fit", *words, *QUIET, "--trainer.fast_dev_run=true"])


@pytest.mark.slow
def test_an_own_network_trains(workplace, actions_file):
    write_blocks("anticipate/nn/README.md", workplace)
    fit("--config", "rnn.yaml", "--data.path", str(actions_file), "--model.network.hidden_dim", "8")


@pytest.mark.slow
def test_an_own_model_trains_and_is_scored(workplace, synthetic_file):
    write_blocks("anticipate/models/README.md", workplace)
    words = ["--config", "segmenter.yaml", "--data.path", str(synthetic_file)]
    main(["fit", *words, "--model.hidden_dim=8", "--trainer.max_epochs=1", *QUIET])
    assert (workplace / "runs/segmenter/split_1/seed_0/metrics.json").is_file()


@pytest.mark.slow
def test_an_own_data_set_is_prepared_and_trained_on(workplace):
    import numpy as np

    write_blocks("anticipate/datasets/README.md", workplace)
    (workplace / "release" / "features").mkdir(parents=True)
    actions = ("grind,beans", "press,coffee", "steam,milk", "pour,milk")
    for part, videos in (("train", ("a", "b")), ("validation", ("c",))):
        rows = [
            f"{video},{2 + 3 * n}.5,{4 + 3 * n}.25,{actions[n % 4]}"
            for video in videos
            for n in range(12)
        ]
        text = "\n".join(["video,start,stop,verb,noun", *rows])
        (workplace / "release" / f"{part}.csv").write_text(text)
        for video in videos:
            np.save(workplace / "release" / "features" / f"{video}.npy", np.ones((200, 8), "f4"))
    main(["prepare", "cafe.Cafe", "--source", "release", "--output", "cafe.h5"])
    recipe = str(ROOT / "experiments" / "aga_demo.yaml")
    data = ["--data", "cafe.Cafe", "--data.path", "cafe.h5", "--data.num_steps", "4"]
    fit("--config", recipe, *data, "--model.network.hidden_dim", "8")


@each_document
def test_commands_and_experiments_exist(name):
    for command in re.findall(r"(?:^|`)anticipate ([a-z]+)", DOCUMENTS[name], flags=re.MULTILINE):
        assert command in COMMANDS
    for experiment in re.findall(r"experiments/([a-z0-9_/]+\.yaml)", DOCUMENTS[name]):
        assert experiment == "mine.yaml" or (ROOT / "experiments" / experiment).is_file()


@each_document
def test_targets_exist(name):
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(
        r"(?:^|`)make ([a-z]+(?:-[a-z]+)*)", DOCUMENTS[name], flags=re.MULTILINE
    ):
        assert f"\n{target}:" in makefile


@each_document
def test_links_lead_somewhere(name):
    for target in links(name):
        address = urlsplit(target)
        if address.scheme:
            assert address.scheme in ("http", "https")
            assert address.netloc
            continue
        path = (ROOT / name).parent / address.path if address.path else ROOT / name
        assert path.exists(), f"{name} points at {target}"
        if address.fragment:
            assert address.fragment in anchors(path.read_text()), f"{name} points at {target}"


def test_the_readme_is_short_and_points_at_sources():
    assert len(README.split()) <= MOST_WORDS
    assert len({link for link in links("README.md") if link.startswith("http")}) >= 10


def test_the_readme_names_every_data_set_and_its_recipes():
    for data_set in data_sets():
        assert f"anticipate prepare {data_set}" in README
    named = README + DOCUMENTS["experiments/README.md"]
    for path in (ROOT / "experiments").glob("*.yaml"):
        assert path.name in named


def test_every_recipe_study_and_notebook_is_listed():
    experiments = DOCUMENTS["experiments/README.md"]
    for path in (ROOT / "experiments").glob("*.yaml"):
        assert f"`{path.name}`" in experiments
    for folder in (path for path in (ROOT / "experiments").iterdir() if path.is_dir()):
        assert f"`{folder.name}/`" in experiments
    for path in (ROOT / ABLATIONS).glob(f"*/{STUDY_FILE}"):
        assert f"`{path.parent.name}`" in experiments
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        assert f"({path.name})" in DOCUMENTS["notebooks/README.md"]


def test_the_tree_is_that_of_the_package():
    tree = next(text for text in re.findall(r"```\n(.*?)```", CONTRIBUTING, flags=re.DOTALL)[1:])
    files = {path.name for path in (ROOT / "anticipate").rglob("*.py")}
    named = set(re.findall(r"\b(\w+\.py)\b", tree))
    assert named <= files
    folders = {path.name for path in (ROOT / "anticipate").iterdir() if path.is_dir()}
    for folder in folders - {"__pycache__"}:
        assert re.search(rf"^  {folder}/ ", tree, flags=re.MULTILINE)


def test_the_citation_is_of_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert citation["version"] == project["version"]
    assert citation["license"] == project["license"]
    assert [author["name"] for author in citation["authors"]] == [
        author["name"] for author in project["authors"]
    ]
    assert {reference["url"] for reference in citation["references"]} <= set(links("README.md"))
