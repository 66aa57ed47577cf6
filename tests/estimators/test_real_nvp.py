"""RealNVP: the flow of the paper, and the training of the article."""

import pickle

import numpy as np
import pytest

import nvpflow

X = np.random.default_rng(0).normal(size=(200, 2)) @ [[1, 2], [0, 1]]


def test_defaults():
    changed = {"coupling": "affine", "base": "normal"}
    assert nvpflow.RealNVP().get_params() == nvpflow.FlowDensity().get_params() | changed
    assert nvpflow.RealNVP().scale_bound == 1.0


def test_fitted_flow():
    model = nvpflow.RealNVP(3, 8, max_iter=20, random_state=0).fit(X)
    assert model.flow_.base is None
    kinds = [type(layer) for layer in model.flow_]
    assert kinds == [nvpflow.AffineCoupling] * 3 + [nvpflow.ActNorm]
    assert {layer.scale for layer in model.flow_[:3]} == {"tanh"}
    twin = nvpflow.FlowDensity(3, 8, coupling="affine", base="normal", max_iter=20, random_state=0).fit(X)
    np.testing.assert_array_equal(model.flow_.parameters, twin.flow_.parameters)


def test_article():
    """8 layers of hidden size 64 without a bound, full-batch Adam at 1e-3 on all samples as they are."""
    article = nvpflow.RealNVP.article(max_iter=50, random_state=0).fit(X)
    init_seed, _, shuffle_seed = (int(word) for word in np.random.SeedSequence(0).generate_state(3, np.uint64))
    layers = [
        nvpflow.CouplingLayer(2, 64, [(i + 1) % 2, i % 2], scale="exp", random_state=np.random.SeedSequence([init_seed, i]))
        for i in range(8)
    ]
    flow = nvpflow.Flow(layers)
    history = flow.fit(np.array(sorted(X.tolist())), max_iter=50, learning_rate=1e-3, random_state=shuffle_seed)
    np.testing.assert_array_equal(article.flow_.parameters, flow.parameters)
    np.testing.assert_array_equal(article.history_["train_nll"], history["train_nll"])
    assert nvpflow.RealNVP.article().max_iter == 1000


def test_article_parameters():
    model = nvpflow.RealNVP.article(n_layers=2, dtype="float64")
    assert (model.n_layers, model.dtype, model.hidden_dim) == (2, "float64", 64)
    with pytest.raises(TypeError, match="scale"):
        nvpflow.RealNVP.article(scale="exp")


def test_clone_repr_pickle_and_file(tmp_path):
    model = nvpflow.RealNVP(2, 4, max_iter=2, random_state=0).fit(X)
    assert repr(model) == "RealNVP(hidden_dim=4, max_iter=2, n_layers=2, random_state=0)"
    assert type(model.__sklearn_clone__()) is nvpflow.RealNVP
    model.save(tmp_path / "model.npz")
    for twin in (pickle.loads(pickle.dumps(model)), nvpflow.load(tmp_path / "model.npz")):
        assert type(twin) is nvpflow.RealNVP and twin.get_params() == model.get_params()
        np.testing.assert_array_equal(twin.score_samples(X), model.score_samples(X))


def test_coupling_layer_alias():
    assert nvpflow.CouplingLayer is nvpflow.AffineCoupling
    assert repr(nvpflow.CouplingLayer(2)).startswith("AffineCoupling(")
