"""`Flow.fit`: schedules, clipping, decay and averages against plain NumPy and PyTorch; pauses, validation, divergence."""

import copy
import pickle
import warnings

import numpy as np
import pytest

import nvpflow
from support.flows import make_flow
from support.marks import both_precisions


def bent(n, seed=0):
    """Points about a parabola, (n, 2)."""
    x, noise = np.random.RandomState(seed).normal(size=(2, n))
    return np.stack([x, x**2 + 0.3 * noise], axis=1)


def weights_of(flow):
    """1 for the weights of linear maps, 0 for all other parameters."""
    marks = flow.copy()
    marks.parameters[:] = 0
    for layer in marks.layers:
        if isinstance(layer, nvpflow.CouplingLayer):
            for linear in (*layer.s_net, *layer.b_net):
                linear.weight[:] = 1
    return np.array(marks.parameters)


def rate_by_the_book(step, n_steps, learning_rate, schedule="constant", final_fraction=0, warmup=0):
    """The learning rate of a step, counted from 0."""
    if step < warmup:
        return learning_rate * (step + 1) / warmup
    if schedule == "constant":
        return learning_rate
    cosine = (1 + np.cos(np.pi * (step - warmup) / (n_steps - warmup))) / 2
    return learning_rate * (final_fraction + (1 - final_fraction) * cosine)


def fit_by_the_book(flow, batches, *, max_grad_norm=None, weight_decay=0.0, average=0.0, **schedule):
    """AdamW along `nll_and_grad`, in float64. The losses, the norms of the gradients, and the average of parameters."""
    p, weights = flow.parameters, weights_of(flow)
    m, v, mean = np.zeros((3, p.size))
    losses, norms = [], []
    for step, x in enumerate(batches):
        loss, g = flow.nll_and_grad(x)
        losses.append(loss)
        norms.append(np.linalg.norm(g))
        if max_grad_norm is not None:
            g = g * min(1, max_grad_norm / norms[-1])
        rate = rate_by_the_book(step, len(batches), **schedule)
        m = 0.9 * m + 0.1 * g
        v = 0.999 * v + 0.001 * g**2
        p *= 1 - rate * weight_decay * weights
        p -= rate * (m / (1 - 0.9 ** (step + 1))) / (np.sqrt(v / (1 - 0.999 ** (step + 1))) + 1e-8)
        mean = average * mean + (1 - average) * p
    return np.array(losses), np.array(norms), mean / (1 - average ** len(batches))


OPTIONS = {
    "none": {},
    "warm-up": dict(warmup=7),
    "warm-up throughout": dict(warmup=100),
    "cosine": dict(schedule="cosine", final_fraction=0.2),
    "warm-up and cosine": dict(schedule="cosine", warmup=7),
    "clipping": dict(max_grad_norm=0.5),
    "decay": dict(weight_decay=3.0),
    "average": dict(average=0.8),
    "all": dict(schedule="cosine", final_fraction=0.1, warmup=5, max_grad_norm=0.5, weight_decay=3.0, average=0.8),
}
every_option = pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())


class TestReference:
    @every_option
    def test_full_batch(self, options):
        x = bent(60)
        fitted, stepped = make_flow(), make_flow()
        losses, norms, average = fit_by_the_book(stepped, [x] * 30, learning_rate=1e-2, **options)
        history = fitted.fit(x, max_iter=30, learning_rate=1e-2, **options)
        np.testing.assert_allclose(history["train_nll"], losses, rtol=1e-11)
        np.testing.assert_allclose(fitted.parameters, average, rtol=0, atol=1e-10)
        # Every option has something to do here.
        plain = make_flow()
        plain.fit(x, max_iter=30, learning_rate=1e-2)
        assert norms.max() > 0.5 and (np.abs(plain.parameters - average).max() > 1e-3) == bool(options)

    def test_many_parameters(self):
        """The update runs in parts of 8192 parameters; the last one is not full."""
        x = np.random.RandomState(0).normal(size=(20, 3))
        fitted, stepped = make_flow(dim=3, hidden=(64, 64)), make_flow(dim=3, hidden=(64, 64))
        assert 2 * 8192 < fitted.n_parameters % 8192 + 2 * 8192 < fitted.n_parameters
        options = OPTIONS["all"]
        losses, _, average = fit_by_the_book(stepped, [x] * 6, learning_rate=1e-2, **options)
        np.testing.assert_allclose(fitted.fit(x, max_iter=6, learning_rate=1e-2, **options)["train_nll"], losses, rtol=1e-11)
        np.testing.assert_allclose(fitted.parameters, average, rtol=0, atol=1e-10)

    @every_option
    def test_minibatches(self, options):
        """All samples are equal, so that shuffling does not matter. An epoch is three steps."""
        x = np.repeat(bent(1), 10, axis=0)
        fitted, stepped = make_flow(), make_flow()
        losses, _, average = fit_by_the_book(stepped, [x] * 30, learning_rate=1e-2, **options)
        history = fitted.fit(x, batch_size=4, max_iter=10, learning_rate=1e-2, **options)
        np.testing.assert_allclose(history["train_nll"], losses.reshape(10, 3) @ [0.4, 0.4, 0.2], rtol=1e-11)
        np.testing.assert_allclose(fitted.parameters, average, rtol=0, atol=1e-10)

    @every_option
    def test_single_precision(self, options):
        x = bent(60)
        fitted, expected = make_flow(dtype="float32"), make_flow()
        expected.parameters[:] = fitted.parameters
        fitted.fit(x, max_iter=30, learning_rate=1e-2, **options)
        expected.fit(x, max_iter=30, learning_rate=1e-2, **options)
        np.testing.assert_allclose(fitted.parameters, expected.parameters, rtol=0, atol=1e-4)

    def test_torch(self):
        """torch.optim.AdamW, clip_grad_norm_ and AveragedModel's average, on gradients of PyTorch's own."""
        torch = pytest.importorskip("torch")
        from support import oracle

        x, flow = bent(60), make_flow()
        couplings = [
            oracle.CouplingLayer(layer.mask.tolist(), (8,), "relu", "tanh", layer.scale_bound) for layer in flow.layers[:3]
        ]
        peer = oracle.Flow([*couplings, oracle.ActNorm(2)]).double()
        peer.load_state_dict({k: torch.tensor(v) for k, v in flow.state_dict().items()}, strict=False)
        named = dict(peer.named_parameters())
        groups = [
            {"params": [p for k, p in named.items() if k.endswith("weight")], "weight_decay": 3.0},
            {"params": [p for k, p in named.items() if not k.endswith("weight")], "weight_decay": 0.0},
        ]
        adam = torch.optim.AdamW(groups, lr=1e-2)
        warmup = torch.optim.lr_scheduler.LambdaLR(adam, lambda step: min(1, (step + 1) / 5))
        losses = []
        for _ in range(25):
            adam.zero_grad()
            nll = peer.nll(torch.tensor(x))
            nll.backward()
            torch.nn.utils.clip_grad_norm_(peer.parameters(), 0.5)
            adam.step()
            warmup.step()
            losses.append(nll.item())
        options = dict(warmup=5, max_grad_norm=0.5, weight_decay=3.0)
        history = flow.fit(x, max_iter=25, learning_rate=1e-2, **options)
        np.testing.assert_allclose(history["train_nll"], losses, rtol=1e-5)  # clip_grad_norm_ adds 1e-6 to the norm
        for name, value in flow.state_dict().items():
            kept = value != 0  # the state dict has zeros where the mask leaves weights out
            np.testing.assert_allclose(value[kept], named[name].detach().numpy()[kept], atol=1e-4)

    @both_precisions
    def test_weight_decay(self, dtype):
        """With gradients clipped to zero, decay alone is left."""
        flow = make_flow(dtype=dtype)
        flow.parameters[:] = np.linspace(1, 2, flow.n_parameters)
        start, weights = np.array(flow.parameters), weights_of(flow)
        flow.fit(bent(20), max_iter=10, learning_rate=1e-2, weight_decay=5.0, max_grad_norm=1e-25)
        expected = start * np.where(weights, 0.95**10, 1)
        np.testing.assert_allclose(flow.parameters, expected, rtol=1e-6 if dtype == "float32" else 1e-13)
        assert 0 < weights.sum() < weights.size

    def test_warmup_fraction(self):
        x = bent(50)
        flows = make_flow(), make_flow()
        for flow, warmup in zip(flows, (0.25, 10)):
            flow.fit(x, max_iter=20, batch_size=25, warmup=warmup, random_state=0)
        np.testing.assert_array_equal(flows[0].parameters, flows[1].parameters)


@both_precisions
@pytest.mark.parametrize("n_jobs", [2, 3])
def test_n_jobs_changes_no_bit(n_jobs, dtype):
    """With enough parameters for several parts of the update."""
    flows = [make_flow(dim=3, hidden=(64, 64), dtype=dtype) for _ in range(2)]
    assert flows[0].n_parameters > 2 * 8192
    flows[1].n_jobs = n_jobs
    x = np.random.RandomState(0).normal(size=(1500, 3))
    curves = [
        flow.fit(x, max_iter=4, batch_size=600, noise=0.1, validation_data=x[:700], random_state=0, **OPTIONS["all"])
        for flow in flows
    ]
    for name in curves[0]:
        assert curves[0][name].tobytes() == curves[1][name].tobytes()
    assert flows[0].parameters.tobytes() == flows[1].parameters.tobytes()


PAUSED = {
    "full batch": {},
    "minibatches": dict(batch_size=16, noise=0.1, schedule="cosine", warmup=0.3),
    "validation": dict(batch_size=16, validation_data=bent(40, 1), learning_rate=3e-2),
    "patience": dict(validation_data=bent(40, 1), learning_rate=3e-2, n_iter_no_change=5, tol=1e-2),
    "all": dict(batch_size=16, validation_data=bent(40, 1), validate_every=3, **OPTIONS["all"]),
}


class TestPauses:
    @both_precisions
    @pytest.mark.parametrize("options", PAUSED.values(), ids=PAUSED.keys())
    def test_parts_equal_whole(self, options, dtype):
        x = bent(50)
        arguments = dict(max_iter=31, random_state=3) | options
        whole, parted = make_flow(dtype=dtype), make_flow(dtype=dtype)
        history = whole.fit(x, **arguments)
        state, parts, seen = nvpflow.TrainingState(), [], []
        for n in (1, 7, 8, None):
            parts.append(parted.fit(x, **arguments, state=state, pause_after=n, callback=lambda epoch, *_: seen.append(epoch)))
            state = pickle.loads(pickle.dumps(state))
            if n is not None:
                parted.parameters[:] = 0  # training goes on from the state
        for name in history:
            np.testing.assert_array_equal(np.concatenate([part[name] for part in parts]), history[name])
        assert parted.parameters.tobytes() == whole.parameters.tobytes()
        assert seen == list(range(1, len(history["train_nll"]) + 1)) and state.n_iter == len(seen)

    def test_result_at_pause(self):
        """The result at a pause is the best epoch so far."""
        x, held_out = bent(50), bent(40, 1)
        flow, state = make_flow(), nvpflow.TrainingState()
        options = dict(max_iter=60, learning_rate=3e-2, validation_data=held_out, average=0.5, state=state)
        best = np.inf
        for _ in range(6):
            best = min(best, flow.fit(x, pause_after=10, **options)["validation_nll"].min())
            assert flow.nll(held_out) == best
        assert state.n_iter == 60
        assert len(flow.fit(x, **options)["train_nll"]) == 0 and flow.nll(held_out) == best

    def test_copied_state(self):
        x, flow, state = bent(50), make_flow(), nvpflow.TrainingState()
        flow.fit(x, max_iter=20, pause_after=10, state=state)
        results = []
        for twin in (state.copy(), copy.deepcopy(state), copy.copy(state), state):
            assert twin.n_iter == 10
            flow.fit(x, max_iter=20, state=twin)
            assert twin.n_iter == 20
            results.append(flow.parameters.tobytes())
        assert len(set(results)) == 1

    def test_bad_states(self):
        x, flow, state = bent(50), make_flow(), nvpflow.TrainingState()
        before = flow.parameters.copy()
        with pytest.raises(TypeError, match="state must be a TrainingState, got 3"):
            flow.fit(x, state=3)
        with pytest.raises(ValueError, match="average must be"):
            flow.fit(x, state=state, average=1)
        assert state.n_iter == 0
        np.testing.assert_array_equal(flow.parameters, before)
        make_flow(dtype="float32").fit(x, max_iter=2, state=state)  # no flow has it yet
        with pytest.raises(ValueError, match="state must be empty or of a training of such a flow"):
            flow.fit(x, state=state)
        np.testing.assert_array_equal(flow.parameters, before)
        assert state.n_iter == 2


class TestValidation:
    def test_validate_every(self):
        x, held_out = bent(50), bent(40, 1)
        often, seldom = make_flow(), make_flow()
        options = dict(max_iter=32, learning_rate=3e-2, validation_data=held_out)
        expected = often.fit(x, **options)["validation_nll"]
        history = seldom.fit(x, validate_every=5, **options)
        measured = [5, 10, 15, 20, 25, 30, 32]
        np.testing.assert_array_equal(history["validation_epoch"], measured)
        np.testing.assert_array_equal(history["validation_nll"], expected[np.subtract(measured, 1)])
        assert seldom.nll(held_out) == history["validation_nll"].min()

    def test_patience(self):
        x, held_out = bent(50), bent(40, 1)
        options = dict(max_iter=500, learning_rate=3e-2, validation_data=held_out, n_iter_no_change=6)
        history = make_flow().fit(x, validate_every=4, **options)
        best = history["validation_epoch"][np.argmin(history["validation_nll"])]
        assert len(history["train_nll"]) < 500 and len(history["train_nll"]) == best + 8

    def test_average(self):
        x, held_out, flow = bent(50), bent(40, 1), make_flow()
        stepped = make_flow()
        history = flow.fit(x, max_iter=1, average=0.9, validation_data=held_out)
        np.testing.assert_array_equal(history["validation_nll"][-1:], [flow.nll(held_out)])
        averages = []
        for n in range(1, 21):
            stepped = make_flow()
            _, _, average = fit_by_the_book(stepped, [x] * n, learning_rate=3e-2, average=0.9)
            stepped.parameters[:] = average
            averages.append(stepped.nll(held_out))
        flow = make_flow()
        history = flow.fit(x, max_iter=20, learning_rate=3e-2, average=0.9, validation_data=held_out)
        np.testing.assert_allclose(history["validation_nll"], averages, rtol=1e-9)

    def test_stopped_before_the_first_validation(self):
        x, flow = bent(50), make_flow()
        start = flow.parameters.copy()

        def stop_at_five(epoch, train_nll, validation_nll):
            if epoch == 5:
                raise StopIteration

        flow.fit(x, max_iter=20, validation_data=x, validate_every=10, callback=stop_at_five)
        expected = make_flow()
        expected.fit(x, max_iter=5)
        np.testing.assert_array_equal(flow.parameters, expected.parameters)
        assert not np.array_equal(flow.parameters, start)


class TestDivergence:
    @both_precisions
    @pytest.mark.parametrize("validation_data", [None, bent(40, 1)], ids=["", "validation"])
    @pytest.mark.parametrize("batch_size", [None, 16])
    @pytest.mark.parametrize("options", [{}, dict(average=0.5), dict(average=0.999, weight_decay=0.1, warmup=3)])
    @pytest.mark.parametrize("learning_rate", [30.0, 1e3, 1e20])
    def test_restores_finite_parameters(self, learning_rate, options, batch_size, validation_data, dtype):
        x, flow, state = bent(100), make_flow(dtype=dtype, scale="exp"), nvpflow.TrainingState()
        arguments = dict(max_iter=500, learning_rate=learning_rate, batch_size=batch_size, validation_data=validation_data,
                         random_state=0, state=state, **options)  # fmt: skip
        for _ in range(2):  # one that has diverged stays so
            with pytest.warns(nvpflow.ConvergenceWarning, match="training diverged"):
                history = flow.fit(x, **arguments)
            assert np.isfinite(flow.parameters).all() and np.isfinite(flow.nll(x))
        assert len(history["train_nll"]) == 0 and 1 <= state.n_iter < 500

    @pytest.mark.parametrize("options", [{}, dict(average=0.5)])
    def test_last_step(self, options):
        """The loss is finite before the single step and not after it."""
        x, flow = bent(100), make_flow(scale="exp")
        start = flow.parameters.copy()
        with pytest.warns(nvpflow.ConvergenceWarning, match="finite in epoch 1; the parameters of epoch 0 were kept"):
            history = flow.fit(x, max_iter=1, learning_rate=1e200, **options)
        assert np.isfinite(history["train_nll"]).all()
        np.testing.assert_array_equal(flow.parameters, start)

    def test_overflowing_squared_gradients(self):
        """Adam's second moment overflows: clipping prevents it, otherwise training has diverged."""
        x = 1e12 * bent(50)
        flow = make_flow(dtype="float32")
        assert np.abs(flow.nll_and_grad(x)[1]).max() > 1e20
        with pytest.warns(nvpflow.ConvergenceWarning, match="max_grad_norm"):
            flow.fit(x, max_iter=3)
        expected = make_flow()
        expected.parameters[:] = flow.parameters
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for each in (flow, expected):
                each.fit(x, max_iter=3, max_grad_norm=1.0)
        np.testing.assert_allclose(flow.parameters, expected.parameters, atol=1e-5)
