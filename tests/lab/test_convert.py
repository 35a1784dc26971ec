"""`anticipate convert`: the checkpoint works in the other commands, and mistakes leave nothing."""

import argparse
import pickle

import h5py
import pytest
import torch
import yaml

from anticipate import nn
from anticipate.cli import main
from anticipate.datasets.file.short_term_file import ShortTermStore
from anticipate.nn import (
    AVT,
    FUTR,
    GTDA,
    RULSTM,
    DeterministicGTDA,
    RULSTMFusion,
    avt,
    futr,
    rulstm,
)
from anticipate.training.loading import load
from tests.nn.reencoding_aga import ReencodingAGA


def reference(num_classes=120, feature_dim=2, **variant):
    torch.manual_seed(0)
    network = ReencodingAGA(num_classes, feature_dim, hidden_dim=32, **variant).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return network


def convert(*words, system="aga"):
    main(["convert", system, *map(str, words)])


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "released.pt"
    state = {f"graph.P.{name}": value for name, value in reference().state_dict().items()}
    torch.save({"state_dict": state, "epoch": 7}, path)
    return path


def test_the_checkpoint_predicts_what_the_authors_network_does(source, tmp_path, short_term_file):
    ckpt, data = tmp_path / "converted" / "aga.ckpt", short_term_file("ek100")
    convert(source, "--output", ckpt, "--data", data)
    model, module = load(ckpt)
    assert module.path == str(data)
    features = torch.randn(2, 5, 2)
    torch.testing.assert_close(model.network(features), reference()(features), atol=1e-5, rtol=0)
    predictions = tmp_path / "predictions.h5"
    config = ["--config", str(ckpt.with_name("config.yaml")), "--ckpt_path", str(ckpt)]
    options = [f"--run_dir={tmp_path / 'runs'}", "--trainer.enable_progress_bar=false"]
    main(["predict", *config, *options, f"--predictions.path={predictions}"])
    with h5py.File(predictions) as file:
        assert file["action"].shape[1] == 120
        assert len(file["id"]) == len(file["action"]) > 0


def test_weights_of_avt_are_tested_on_clips_like_those_of_its_training(
    tmp_path, capsys, short_term_file
):
    network = AVT(120, 2, hidden_dim=16, num_layers=2, num_heads=2, num_positions=12).eval()
    state = {
        avt._their_name(name): value.T if avt._stored_transposed(name) else value
        for name, value in network.state_dict().items()
    }
    source, ckpt = tmp_path / "released.pth", tmp_path / "converted" / "avt.ckpt"
    torch.save({"model": state, "epoch": 49}, source)
    data = ["--data", str(short_term_file("ek100"))]
    main(["convert", "avt", str(source), "--output", str(ckpt), "--num-heads", "2", *data])
    model, module = load(ckpt)
    features = torch.randn(2, 5, 2)
    assert torch.equal(model.network(features), network(features))
    assert (module.num_steps, module.drift, model.network.window) == (10, False, 10)
    for analysis in ("forward", "gate"):
        capsys.readouterr()
        folder = ["--output", str(tmp_path / "out")]
        clip = ["--clip", "v1_3"] if analysis == "gate" else []
        with pytest.raises(SystemExit):
            main(["explain", analysis, "--ckpt", str(ckpt), *data, *folder, *clip])
        error = capsys.readouterr().err
        assert f"{ckpt} has no " in error
        assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("streams", [["obj"], ["rgb", "flow", "obj"]])
def test_weights_of_rulstm_are_tested_on_clips_of_its_recipe(
    tmp_path, short_term_file, capsys, streams
):
    torch.manual_seed(0)
    branches = [RULSTM(120, 1, hidden_dim=16, num_layers=2) for _ in streams]
    network = (branches[0] if len(streams) == 1 else RULSTMFusion(branches)).eval()
    state = {rulstm.their_name(name): value for name, value in network.state_dict().items()}
    source, ckpt = tmp_path / "released.pth.tar", tmp_path / "converted" / "rulstm.ckpt"
    torch.save({"state_dict": state, "epoch": 49, "perf": 13.3}, source)
    data = ["--data", str(short_term_file("ek100", ("rgb", "flow", "obj")))]
    words = ["convert", "rulstm", str(source), "--output", str(ckpt), *data]
    main([*words, "--streams", *streams] if len(streams) == 1 else words)
    model, module = load(ckpt)
    assert list(module.stream_dims) == streams
    assert (module.num_steps, module.step_time, module.train_until) == (11, 0.25, 0.25)
    clip = torch.randn(2, 11, len(streams))
    assert torch.equal(model.network(clip), network.anticipate(clip, 4))
    for analysis, refusal, *clip in (
        ("gate", "has no AGA network", "--clip", "v1_3"),
        ("experts", "is of a model without experts"),
    ):
        with pytest.raises(SystemExit) as exit_:
            main(["explain", analysis, "--ckpt", str(ckpt), *data, "--output", "x", *clip])
        assert exit_.value.code == 2
        assert refusal in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("block", ["attention", "mamba"])
def test_weights_of_testra_are_tested_on_windows(block, tmp_path, capsys, short_term_file):
    path = short_term_file("ek100", ("rgb", "flow", "obj"))
    with ShortTermStore(path) as store:
        verbs, nouns = store.taxonomy.num_verbs, store.taxonomy.num_nouns
    network = nn.TeSTra(120, 2, verbs, nouns, block, hidden_dim=16, num_heads=2).eval()
    state = {}
    for name, value in network.state_dict().items():
        theirs = nn.testra._their_name(name, mamba=block == "mamba")
        value = value[0] if theirs.endswith("A_log") else value
        state[theirs] = value[:, None] if theirs.endswith("conv1d.weight") else value
    source, ckpt = tmp_path / "released.pth", tmp_path / "converted" / "testra.ckpt"
    torch.save({"model_state_dict": state, "epoch": 17}, source)
    words = ["--output", str(ckpt), "--num-heads", "2", "--data", str(path)]
    main(["convert", "testra", str(source), *words, "--streams", "rgb", "flow"])
    model, module = load(ckpt)
    features = torch.randn(2, 10, 2)
    assert torch.equal(model.network(features).verb, network(features).verb)
    assert module.windows.long_steps == 0
    predictions = tmp_path / "p.h5"
    config = ["--config", str(ckpt.with_name("config.yaml")), "--ckpt_path", str(ckpt)]
    main(["predict", *config, f"--run_dir={tmp_path}", f"--predictions.path={predictions}"])
    with h5py.File(predictions) as file:
        assert (file["verb"].shape[1], file["noun"].shape[1]) == (verbs, nouns)


def test_weights_of_rulstm_for_egtea_look_half_a_second_ahead(tmp_path):
    tensors = RULSTM(106, 1, hidden_dim=4).state_dict().items()
    source, ckpt = tmp_path / "released.pth", tmp_path / "converted" / "rulstm.ckpt"
    torch.save({rulstm.their_name(name): value for name, value in tensors}, source)
    main(["convert", "rulstm", str(source), "--output", str(ckpt)])
    data = yaml.safe_load(ckpt.with_name("config.yaml").read_text())["data"]
    assert data["class_path"] == "EgteaGaze"
    assert (data["init_args"]["anticipation_time"], data["init_args"]["num_steps"]) == (0.5, 13)


def test_the_variant_is_part_of_the_settings(tmp_path):
    source, ckpt = tmp_path / "visual.pt", tmp_path / "visual" / "aga.ckpt"
    torch.save(reference(attention="visual", gate="scalar").state_dict(), source)
    variant = ["--attention", "visual", "--gate", "scalar", "--queue-length", "7"]
    convert(source, "--output", ckpt, *variant)
    document = yaml.safe_load(ckpt.with_name("config.yaml").read_text())
    settings = document["model"]["init_args"]["network"]["init_args"]
    assert (settings["attention"], settings["gate"]) == ("visual", "scalar")
    assert (settings["queue_length"], settings["num_heads"], settings["bottleneck"]) == (7, 16, 8)


@pytest.mark.parametrize(
    ("num_classes", "name"), [(2513, "EpicKitchens55"), (106, "EgteaGaze"), (9, "EpicKitchens100")]
)
def test_the_data_set_follows_from_the_number_of_actions(tmp_path, num_classes, name):
    source, ckpt = tmp_path / "released.pt", tmp_path / "converted" / "aga.ckpt"
    torch.save(reference(num_classes).state_dict(), source)
    convert(source, "--output", ckpt)
    document = yaml.safe_load(ckpt.with_name("config.yaml").read_text())
    assert document["data"] == {"class_path": name}


def released_futr(num_classes, feature_dim=16):
    network = FUTR(num_classes, feature_dim, hidden_dim=16, num_heads=2, max_tokens=200).eval()
    weights = network.state_dict().items()
    return network, {f"module.{futr._their_name(name)}": tensor for name, tensor in weights}


def test_weights_of_futr_forecast_long_videos(tmp_path, synthetic_file):
    source, ckpt = tmp_path / "released.ckpt", tmp_path / "converted" / "futr.ckpt"
    network, state = released_futr(num_classes=20)
    torch.save(state, source)
    words = ["--output", ckpt, "--num-heads", 2, "--data", synthetic_file]
    convert(source, *words, system="futr")
    model, module = load(ckpt)
    features, observed = torch.randn(1, 9, 16), torch.ones(1, 9, dtype=torch.bool)
    for ours, theirs in zip(
        model.network(features, observed), network(features, observed), strict=True
    ):
        assert torch.equal(ours, theirs)
    module.setup("test")
    batch = next(iter(module.test_dataloader()))
    assert model.forecast(batch).preds.shape[:2] == (1, len(batch.video_ids))


@pytest.mark.parametrize(
    ("num_classes", "name"),
    [(48, "Breakfast"), (19, "Salads50"), (202, "Assembly101"), (7, "Breakfast")],
)
def test_long_videos_follow_from_the_number_of_classes(tmp_path, num_classes, name):
    source, ckpt = tmp_path / "released.ckpt", tmp_path / "converted" / "futr.ckpt"
    torch.save(released_futr(num_classes)[1], source)
    convert(source, "--output", ckpt, "--num-heads", 2, system="futr")
    document = yaml.safe_load(ckpt.with_name("config.yaml").read_text())
    assert document["data"] == {"class_path": name}
    assert document["model"]["init_args"]["network"]["init_args"]["max_tokens"] == 200


def write_damaged(path):
    path.write_bytes(b"PK")


def write_pickle(path):
    path.write_bytes(pickle.dumps([1, 2]))


def write_object(path):
    torch.save(argparse.Namespace(x=1), path)


def write_list(path):
    torch.save([torch.zeros(2)], path)


def write_incomplete(path):
    state = reference().state_dict()
    del state["hx_norm.g"]
    torch.save(state, path)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: None, "no file"),
        (write_damaged, "is damaged or not a checkpoint"),
        (write_pickle, "is damaged or not a checkpoint"),
        (write_object, "it holds objects other than tensors, which are never loaded"),
        (write_list, "expected the state dict of an AGA"),
        (write_incomplete, "tensor 'hx_norm.g' is missing"),
    ],
)
def test_a_wrong_source_is_one_line_and_no_file(tmp_path, capsys, write, message):
    source, output = tmp_path / "source.pt", tmp_path / "converted" / "aga.ckpt"
    write(source)
    with pytest.raises(SystemExit) as exit_:
        convert(source, "--output", output)
    error = capsys.readouterr().err
    assert exit_.value.code == 2
    assert message in error
    assert str(source) in error
    assert error.count("\n") == 1
    assert not output.parent.exists()


def test_nothing_is_overwritten(source, tmp_path, capsys):
    (tmp_path / "config.yaml").write_text("mine")
    with pytest.raises(SystemExit):
        convert(source, "--output", tmp_path / "aga.ckpt")
    assert "config.yaml exists already: choose an --output" in capsys.readouterr().err
    assert (tmp_path / "config.yaml").read_text() == "mine"
    assert not (tmp_path / "aga.ckpt").exists()


def test_data_of_other_sizes_is_refused(tmp_path, capsys, short_term_file, synthetic_file):
    source, output = tmp_path / "released.pt", tmp_path / "converted" / "aga.ckpt"
    torch.save(reference(num_classes=9).state_dict(), source)
    for data, message in (
        (
            short_term_file("ek100"),
            "has 120 actions and features of width 2, the weights are for 9",
        ),
        (synthetic_file, "holds 'synthetic', expected one of egtea, ek100, ek55"),
    ):
        with pytest.raises(SystemExit):
            convert(source, "--output", output, "--data", data)
        assert message in capsys.readouterr().err
        assert not output.exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("network", "model"),
    [(GTDA, "DiffusionAnticipator"), (DeterministicGTDA, "FrameAnticipator")],
    ids=["stochastic", "deterministic"],
)
def test_weights_of_gtda_make_a_run_that_tests(network, model, tmp_path, synthetic_file, capsys):
    torch.manual_seed(0)
    ours = network(20, 16, d_model=8, num_stages=2, num_layers=2)
    source, ckpt = tmp_path / "released.pt", tmp_path / "converted" / "gtda.ckpt"
    torch.save(in_their_names(ours), source)
    convert(source, "--output", ckpt, "--data", synthetic_file, system="gtda")
    experiment, data = load(ckpt)
    assert type(experiment).__name__ == model
    assert data.path == str(synthetic_file)
    read = getattr(experiment, "denoiser", None) or experiment.network
    expected = ours.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in read.state_dict().items())
    settings = [f"--run_dir={tmp_path / 'runs'}", "--trainer.enable_progress_bar=false"]
    settings += ["--data.limit_test_videos=2", "--data.sample_rate=30", "--figures.num_videos=1"]
    if model == "DiffusionAnticipator":
        settings += ["--model.num_samples=2", "--model.num_inference_steps=2"]
    config = ["--config", str(ckpt.with_name("config.yaml")), "--ckpt_path", str(ckpt)]
    main(["test", *config, *settings])
    (metrics,) = tmp_path.rglob("metrics.json")
    assert network.method in metrics.read_text()
    capsys.readouterr()
    with pytest.raises(SystemExit):
        main(["explain", "experts", f"--ckpt={ckpt}", f"--data={synthetic_file}", "--output=none"])
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith(f"anticipate: {ckpt} is of a model without")


def in_their_names(network):
    """Tensors of a GTDA of ours by its authors' names."""
    state = {}

    def put(name, module, columns=None):
        weight = module.weight if columns is None else module.weight[:, columns]
        state[f"ms_tcn.{name}.weight"] = weight.unsqueeze(-1) if columns is not None else weight
        state[f"ms_tcn.{name}.bias"] = module.bias

    for number, stage in enumerate(network.refinement.stages):
        name = f"stages.{number - 1}" if number else "stage1"
        labels, width = stage.widths[0], stage.in_proj.in_features
        own = labels - 20 if stage.time else labels  # all but the previous estimate, which is last
        put(
            f"{name}.conv_1x1",
            stage.in_proj,
            [*range(own), *range(labels, width), *range(own, labels)],
        )
        put(f"{name}.conv_out", stage.head, range(8))
        if stage.time:
            put(f"{name}.time_mlp.1", stage.time.mlp[0])
            put(f"{name}.time_mlp.3", stage.time.mlp[2])
        for i, layer in enumerate(stage.layers):
            for part, kind in enumerate(("conv_dilated", "gate_conv_dilated")):
                rows = slice(8 * part, 8 * part + 8)
                state[f"ms_tcn.{name}.layers.{i}.{kind}.weight"] = layer.conv.weight[rows]
                state[f"ms_tcn.{name}.layers.{i}.{kind}.bias"] = layer.conv.bias[rows]
            put(f"{name}.layers.{i}.conv_1x1", layer.proj)
            if layer.film:
                put(f"{name}.layers.{i}.time_mlp.1", layer.film.proj)
    return {name: tensor.detach().clone() for name, tensor in state.items()}


@pytest.mark.parametrize(
    ("num_classes", "name"), [(48, "Breakfast"), (19, "Salads50"), (202, "Assembly101")]
)
def test_the_dense_data_set_follows_from_the_number_of_actions(tmp_path, num_classes, name):
    source, ckpt = tmp_path / "released.pt", tmp_path / "converted" / "gtda.ckpt"
    network = DeterministicGTDA(num_classes, 4, d_model=8, num_stages=1, num_layers=1)
    torch.save(in_their_names(network), source)
    convert(source, "--output", ckpt, system="gtda")
    document = yaml.safe_load(ckpt.with_name("config.yaml").read_text())
    assert document["data"] == {"class_path": name}


def test_short_term_data_are_no_data_of_gtda(tmp_path, capsys, short_term_file):
    source, output = tmp_path / "released.pt", tmp_path / "converted" / "gtda.ckpt"
    network = DeterministicGTDA(120, 2, d_model=8, num_stages=1, num_layers=1)
    torch.save(in_their_names(network), source)
    with pytest.raises(SystemExit):
        convert(source, "--output", output, "--data", short_term_file("ek100"), system="gtda")
    error = capsys.readouterr().err
    assert "holds 'ek100', expected one of 50salads, assembly101, breakfast" in error
    assert not output.exists()
