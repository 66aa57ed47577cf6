"""nvpflow.integrations.sbi: posteriors of a linear model, whose exact one is normal; gradients, shapes and errors."""

import copy

import numpy as np
import pytest

import nvpflow

torch = pytest.importorskip("torch", reason="needs PyTorch, which sbi needs: pip install nvpflow[sbi]")
pytest.importorskip("sbi", reason="needs sbi: pip install nvpflow[sbi]")

pytestmark = pytest.mark.filterwarnings("ignore")  # of sbi and its own imports

NOISE = 0.5
EXACT = NOISE / np.sqrt(1 + NOISE**2), 1 / (1 + NOISE**2)  # standard deviation, and mean by unit of x, of the posterior


def simulate(n, seed=0):
    """theta ~ N(0, I), x ~ N(theta, NOISE^2 I), in two dimensions."""
    generator = torch.Generator().manual_seed(seed)
    theta = torch.randn(n, 2, generator=generator)
    return theta, theta + NOISE * torch.randn(n, 2, generator=generator)


def check_posterior(posterior):
    x = torch.tensor([1.0, -0.5])
    samples = posterior.sample((2000,), x=x, show_progress_bars=False)
    np.testing.assert_allclose(samples.mean(dim=0), EXACT[1] * x, atol=0.15)
    np.testing.assert_allclose(samples.std(dim=0), EXACT[0], atol=0.1)
    density = torch.distributions.Normal(EXACT[1] * x, EXACT[0]).log_prob(samples).sum(dim=1)
    assert (density - posterior.log_prob(samples, x=x)).mean().abs() < 0.15


def prior():
    return torch.distributions.MultivariateNormal(torch.zeros(2), torch.eye(2))


def test_trained_by_sbi():
    from sbi.inference import NPE

    from nvpflow.integrations.sbi import flow_estimator

    torch.manual_seed(0)
    trainer = NPE(
        prior(), density_estimator=flow_estimator(n_layers=2, hidden_dim=16, random_state=0), show_progress_bars=False
    )
    trainer.append_simulations(*simulate(1000)).train(max_num_epochs=20, learning_rate=1e-2)
    check_posterior(trainer.build_posterior())


def test_fitted_before():
    from sbi.inference import NPE

    from nvpflow.integrations.sbi import FlowEstimator

    theta, x = simulate(2000)
    model = nvpflow.FlowDensity(max_iter=20, random_state=0).fit(theta.numpy(), context=x.numpy())
    estimator = FlowEstimator.from_density(model)
    theta, x = simulate(20, seed=1)
    np.testing.assert_allclose(estimator.log_prob(theta, x)[0].detach(), model.score_samples(theta, context=x), atol=1e-4)
    trainer = NPE(prior(), show_progress_bars=False)
    trainer.append_simulations(*simulate(10))
    check_posterior(trainer.build_posterior(estimator))


class TestFlowEstimator:
    @pytest.fixture
    def estimator(self):
        from nvpflow.integrations.sbi import flow_estimator

        net = torch.nn.Linear(2, 3)
        return flow_estimator(n_layers=2, embedding_net=net, random_state=0)(*simulate(50))

    def test_shapes(self, estimator):
        theta, x = simulate(4)
        assert estimator.log_prob(theta.expand(3, 4, 2), x).shape == (3, 4)
        assert estimator.log_prob(theta, x[:1]).shape == (1, 4)
        assert estimator.sample((3, 2), x).shape == (3, 2, 4, 2)
        assert estimator.sample_and_log_prob((3,), x)[1].shape == (3, 4)
        assert torch.equal(estimator.loss(theta, x), -estimator.log_prob(theta, x)[0])

    def test_gradients_reach_the_embedding(self, estimator):
        theta, x = simulate(4)
        theta.requires_grad_()
        estimator.loss(theta, x).sum().backward()
        assert estimator.embedding_net.weight.grad.abs().sum() > 0 and theta.grad.abs().sum() > 0
        assert {name for name, _ in estimator.named_parameters()} >= {"net.flow_parameters", "_embedding_net.weight"}

    def test_state_dict(self, estimator):
        theta, x = simulate(4)
        twin, before = copy.deepcopy(estimator), estimator.loss(theta, x)
        with torch.no_grad():
            twin.net.flow_parameters += 0.1
        assert not torch.equal(twin.loss(theta, x), before)
        twin.load_state_dict(estimator.state_dict())
        assert torch.equal(twin.loss(theta, x), before)

    def test_one_dimension(self):
        from nvpflow.integrations.sbi import flow_estimator

        theta, x = (array[:, :1] for array in simulate(50))
        assert torch.isfinite(flow_estimator(n_layers=2)(theta, x).loss(theta, x)).all()

    def test_errors(self, estimator):
        from nvpflow.integrations.sbi import FlowEstimator, flow_estimator

        theta, x = simulate(40)
        with pytest.raises(ValueError, match="match"):
            estimator.log_prob(theta, x[:, :1])
        for method in (lambda: estimator.log_prob(theta, x.to("meta")), lambda: estimator.sample((3,), x.to("meta"))):
            with pytest.raises(TypeError, match="condition must be a dense tensor on the CPU"):
                method()
        with pytest.raises(ValueError, match="theta and x must have the same number of rows, got 40 and 3"):
            flow_estimator()(theta, x[:3])
        with pytest.raises(TypeError, match="theta must be a dense tensor on the CPU"):
            flow_estimator()(theta.to("meta"), x)
        for model, match in (
            (nvpflow.FlowDensity(max_iter=2, n_models=2).fit(theta, context=x), "one flow of real columns"),
            (nvpflow.FlowDensity(max_iter=2).fit(theta), "fitted with a context"),
            (nvpflow.FlowDensity(max_iter=2, dtype="float64").fit(theta, context=x), "in float32"),
        ):
            with pytest.raises(ValueError, match=match):
                FlowEstimator.from_density(model)
        with pytest.raises(nvpflow.NotFittedError):
            FlowEstimator.from_density(nvpflow.FlowDensity())
        with pytest.raises(TypeError, match="model must be a FlowDensity"):
            FlowEstimator.from_density(3)
