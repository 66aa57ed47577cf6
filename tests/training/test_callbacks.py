"""Callbacks of `fit`: stopping, exceptions, changed parameters, threads and forks."""

import gc
import io
import itertools
import os
import pickle
import signal
import threading
import time
import warnings

import numpy as np
import pytest

import nvpflow

POINTS = np.random.default_rng(0).normal(size=(200, 2))


def small_flow(**options):
    masks = ([1, 0], [0, 1])
    return nvpflow.Flow([nvpflow.CouplingLayer(2, 8, mask, random_state=i, **options) for i, mask in enumerate(masks)])


def trained(epochs, **options):
    """A flow and its history after so many epochs, without a callback."""
    flow = small_flow()
    return flow, flow.fit(POINTS, max_iter=epochs, random_state=0, **options)


class Falsy:
    """A callback whose truth value is false."""

    def __init__(self, answer):
        self.answer, self.calls = answer, 0

    def __len__(self):
        return 0

    def __call__(self, *epoch):
        self.calls += 1
        return self.answer


class Stop(StopIteration):
    pass


class OfOnesOwn(BaseException):
    pass


class TestStopping:
    @pytest.mark.parametrize(
        "answer",
        [None, False, True, 0, 1, -1, 2.5, "no", b"\1", [False], {"a": 1}, object(), np.float32(1), np.int8(1), np.array(True),
         np.array([1, 2]), np.True_, StopIteration, StopIteration()],
        ids=lambda answer: type(answer).__name__,
    )  # fmt: skip
    def test_return_value_is_ignored(self, answer):
        flow = small_flow()
        history = flow.fit(POINTS, max_iter=6, random_state=0, callback=lambda *epoch: answer)
        expected, expected_history = trained(6)
        np.testing.assert_array_equal(history["train_nll"], expected_history["train_nll"])
        np.testing.assert_array_equal(flow.parameters, expected.parameters)

    @pytest.mark.parametrize("error", [StopIteration, StopIteration("enough"), Stop], ids=repr)
    def test_stop_iteration(self, error):
        def callback(epoch, train_nll, validation_nll):
            if epoch == 3:
                raise error

        flow = small_flow()
        history = flow.fit(POINTS, max_iter=6, random_state=0, callback=callback)
        expected, expected_history = trained(3)
        np.testing.assert_array_equal(history["train_nll"], expected_history["train_nll"])
        np.testing.assert_array_equal(flow.parameters, expected.parameters)

    def test_tqdm_bar(self):
        tqdm = pytest.importorskip("tqdm").tqdm
        with tqdm(total=6, mininterval=0, file=io.StringIO()) as bar:
            history = small_flow().fit(POINTS, max_iter=6, callback=lambda *epoch: bar.update())
        assert len(history["train_nll"]) == 6 and bar.n == 6

    @pytest.mark.parametrize("answer", [1, "yes"])
    def test_falsy_callback(self, answer):
        callback = Falsy(answer)
        assert len(small_flow().fit(POINTS, max_iter=4, callback=callback)["train_nll"]) == callback.calls == 4

    @pytest.mark.parametrize("verbose", [0, 1])
    @pytest.mark.parametrize("n_init", [1, 2])  # two starts: the epochs of the better one are told of afterwards
    def test_estimators(self, verbose, n_init, capsys):
        def model():
            return nvpflow.FlowDensity(2, 4, max_iter=20, n_init=n_init, base="normal", random_state=0, verbose=verbose)

        def stop(epoch, train_nll, validation_nll):
            raise StopIteration

        expected = model().fit(POINTS)
        told = []
        heard = model().fit(POINTS, callback=lambda epoch, *nll: told.append(epoch) or True)
        assert told == list(range(1, expected.n_iter_ + 1))
        np.testing.assert_array_equal(heard.flow_.parameters, expected.flow_.parameters)
        stopped = model().fit(POINTS, callback=stop)
        assert stopped.n_iter_ < expected.n_iter_  # 1, or the epochs in which the starts were compared
        for name, curve in stopped.history_.items():
            np.testing.assert_array_equal(curve, expected.history_[name][: stopped.n_iter_])


class TestExceptions:
    @pytest.mark.parametrize(
        "error",
        [ValueError, KeyboardInterrupt, SystemExit, GeneratorExit, StopAsyncIteration, MemoryError, OfOnesOwn],
    )
    @pytest.mark.parametrize("validation", [None, POINTS[:50]], ids=["without validation", "with validation"])
    def test_unchanged(self, error, validation):
        """The flow has the parameters of a training that stops there."""
        thrown = error("from the callback")

        def fail(epoch, train_nll, validation_nll):
            if epoch == 3:
                raise thrown

        flow = small_flow()
        with pytest.raises(error) as caught:
            flow.fit(POINTS, max_iter=6, random_state=0, validation_data=validation, callback=fail)
        assert caught.value is thrown and thrown.__traceback__.tb_next is not None
        expected, _ = trained(3, validation_data=validation)
        np.testing.assert_array_equal(flow.parameters, expected.parameters)
        assert len(flow.fit(POINTS, max_iter=2)["train_nll"]) == 2

    @pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers")
    def test_pending_signal(self):
        """The handler runs once, and the exception is the callback's. The samples are many: the library asks for signals
        between the tiles of the pass that ends the training."""
        x = np.random.default_rng(0).normal(size=(20000, 2))
        handled = []
        before = signal.signal(signal.SIGALRM, lambda *signal: handled.append(signal[0]))

        def fail(*epoch):
            signal.setitimer(signal.ITIMER_REAL, 0.01)
            sum(itertools.chain(itertools.repeat(0, 10**7), ["a text"]))  # long enough, and then an error, all of it in C

        flow = small_flow()
        try:
            with pytest.raises(TypeError, match="unsupported operand"):
                flow.fit(x, max_iter=6, callback=fail)
        finally:
            signal.signal(signal.SIGALRM, before)
        expected = small_flow()
        expected.fit(x, max_iter=1)
        assert handled == [signal.SIGALRM]
        np.testing.assert_array_equal(flow.parameters, expected.parameters)

    def test_pending_garbage_collection(self):
        """From Python 3.12 on, it runs where signals are polled."""
        x = np.random.default_rng(0).normal(size=(20000, 2))

        class Cycle:
            def __init__(self):
                self.me = self

            def __del__(self):
                collected.append(self.me is self)

        def fail(*epoch):
            Cycle()
            gc.set_threshold(1)
            sum(itertools.chain(itertools.repeat(0, 10**7), [[]]))

        collected, threshold = [], gc.get_threshold()
        try:
            with pytest.raises(TypeError, match="unsupported operand"):
                small_flow().fit(x, max_iter=6, callback=fail)
        finally:
            gc.set_threshold(*threshold)
        gc.collect()
        assert collected == [True]

    @pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers")
    @pytest.mark.parametrize("n_jobs", [1, 2])
    @pytest.mark.parametrize("call", ["fit", "sample"])
    def test_from_signal_handler(self, n_jobs, call):
        """Parameters that the handler writes are not trained."""
        thrown = OfOnesOwn("from the handler")
        flow = small_flow()
        flow.n_jobs = n_jobs

        def handle(*signal):
            if call == "fit":
                flow.parameters[:] = np.nan
            raise thrown

        before = signal.signal(signal.SIGALRM, handle)
        try:
            with pytest.raises(OfOnesOwn) as caught:
                signal.setitimer(signal.ITIMER_REAL, 0.2)
                if call == "fit":
                    flow.fit(POINTS, max_iter=10**7)
                else:
                    for _ in range(1000):
                        flow.sample(10**6)
        finally:
            signal.signal(signal.SIGALRM, before)
        assert caught.value is thrown and np.isfinite(flow.parameters).all()


def wide_flow(n_jobs, hidden_dim):
    layers = [nvpflow.CouplingLayer(2, (hidden_dim, hidden_dim), mask, random_state=0) for mask in ([1, 0], [0, 1])]
    flow = nvpflow.Flow(layers)
    flow.n_jobs = n_jobs
    return flow


MANY = np.random.default_rng(1).normal(size=(2000, 2))


class TestParameters:
    def test_current_parameters(self):
        """With full batches, the training NLL of an epoch is that of the parameters before it."""
        flow = small_flow()
        seen = [flow.nll(POINTS)]
        history = flow.fit(POINTS, max_iter=5, callback=lambda *epoch: seen.append(flow.nll(POINTS)))
        np.testing.assert_allclose(history["train_nll"], seen[:-1], rtol=1e-6)
        assert seen[-1] == flow.nll(POINTS) != history["train_nll"][-1]

    WAYS = {
        "flow": lambda flow: flow.parameters.fill(0),
        "layers": lambda flow: [layer.parameters.fill(0) for layer in flow.layers] + [flow.base.parameters.fill(0)],
        "weights": lambda flow: [flow.layers[0].s_net[0].weight.fill(0.5), flow.base.means.fill(2)],
        "state dict": lambda flow: flow.load_state_dict({k: np.full_like(v, 0.1) for k, v in flow.state_dict().items()}),
    }

    @pytest.mark.parametrize("way", WAYS)
    def test_written_parameters(self, way):
        base = nvpflow.MixtureBase([1, 1], [[-1, 0], [1, 0]], [np.eye(2)] * 2)
        flow = nvpflow.Flow([nvpflow.CouplingLayer(2, 8, random_state=0)], base)
        nll = []

        def write(epoch, train_nll, validation_nll):
            if epoch == 2:
                self.WAYS[way](flow)
                nll.append(flow.nll(POINTS))

        history = flow.fit(POINTS, max_iter=4, callback=write)
        assert history["train_nll"][2] == pytest.approx(nll[0], rel=1e-6)
        assert abs(history["train_nll"][2] - history["train_nll"][1]) > 0.05

    @pytest.mark.parametrize("batch_size", [None, 700])
    @pytest.mark.parametrize("hidden_dim", [40, 128])  # few parameters: each worker has its own; many: they share them
    def test_n_jobs_changes_no_bit(self, hidden_dim, batch_size):
        def fit(n_jobs, callback):
            flow = wide_flow(n_jobs, hidden_dim)
            options = {"max_iter": 5, "batch_size": batch_size, "random_state": 0, "validation_data": MANY[:500]}
            history = flow.fit(
                MANY, average=0.9, weight_decay=0.01, **options, callback=callback and (lambda *_: callback(flow))
            )
            return [flow.parameters.copy(), *history.values()]

        def halve(flow):
            flow.parameters[::3] *= np.float32(0.5)

        for callback in (None, lambda flow: None, halve):
            expected = fit(1, callback)
            for n_jobs in (2, 3):
                for ours, theirs in zip(fit(n_jobs, callback), expected, strict=True):
                    np.testing.assert_array_equal(ours, theirs)
        for ours, theirs in zip(fit(2, lambda flow: None), fit(2, None), strict=True):
            np.testing.assert_array_equal(ours, theirs)
        assert not np.array_equal(fit(2, halve)[1], fit(2, None)[1])

    def test_nonfinite_parameters(self):
        flow = small_flow()
        callback = lambda epoch, *_: flow.parameters.fill(np.nan) if epoch == 3 else None  # noqa: E731
        with pytest.warns(nvpflow.ConvergenceWarning, match="epoch 4"):
            history = flow.fit(POINTS, max_iter=6, callback=callback)
        assert len(history["train_nll"]) == 4 and np.isfinite(flow.parameters).all()

    @pytest.mark.parametrize("where", ["callback", "thread"])
    def test_nested_training(self, where):
        flow, errors = small_flow(), []

        def fit_again():
            with pytest.raises(RuntimeError, match=r"a training of this flow is under way: train a copy\(\) of it") as caught:
                flow.fit(POINTS, max_iter=1)
            errors.append(caught.value)

        def callback(*epoch):
            if where == "callback":
                fit_again()
            else:
                thread = threading.Thread(target=fit_again)
                thread.start()
                thread.join()

        history = flow.fit(POINTS, max_iter=3, random_state=0, callback=callback)
        assert len(errors) == len(history["train_nll"]) == 3
        np.testing.assert_array_equal(flow.parameters, trained(3)[0].parameters)
        assert len(flow.fit(POINTS, max_iter=2)["train_nll"]) == 2

    def test_train_copy_meanwhile(self):
        flow, twins = small_flow(), []

        def callback(epoch, *nll):
            twins.append(flow.copy())
            twins[-1].fit(POINTS, max_iter=6 - epoch, random_state=0)

        flow.fit(POINTS, max_iter=3, random_state=0, callback=callback)
        np.testing.assert_array_equal(flow.parameters, trained(3)[0].parameters)
        assert len({twin.nll(POINTS) for twin in twins}) == 3

    def test_train_after_argument_error(self):
        flow = small_flow()
        with pytest.raises(ValueError, match=r"sample_weight must have shape \(200,\)"):
            flow.fit(POINTS, sample_weight=np.ones(3))
        assert len(flow.fit(POINTS, max_iter=2)["train_nll"]) == 2

    def test_data_alias_parameters(self):
        flow, other = small_flow(dtype="float64"), small_flow(dtype="float64")
        n = flow.n_parameters // 2
        inside, x = flow.parameters[: 2 * n].reshape(n, 2), other.parameters[: 2 * n].reshape(n, 2).copy()
        weight = np.abs(flow.parameters[:n])
        arguments = {"max_iter": 5, "random_state": 0}
        history = flow.fit(
            inside, None, weight, **arguments, validation_data=inside, noise=np.abs(inside[0]), callback=lambda *_: None
        )
        expected = other.fit(x, None, weight, **arguments, validation_data=x, noise=np.abs(x[0]))
        np.testing.assert_array_equal(history["validation_nll"], expected["validation_nll"])
        np.testing.assert_array_equal(flow.parameters, other.parameters)

    def test_state_until_end(self):
        flow, state, copies = small_flow(), nvpflow.TrainingState(), []
        arguments = {"max_iter": 9, "schedule": "cosine", "random_state": 0}
        flow.fit(POINTS, **arguments, state=state, pause_after=3)

        def callback(*epoch):
            copies.append((state.copy(), pickle.loads(pickle.dumps(state))))

        flow.fit(POINTS, **arguments, state=state, pause_after=2, callback=callback)
        assert state.n_iter == 5
        for copied in itertools.chain(*copies):
            assert copied.n_iter == 3
            other = small_flow()
            other.fit(POINTS, **arguments, state=copied)
            np.testing.assert_array_equal(other.parameters, trained(9, schedule="cosine")[0].parameters)

    def test_callback_deletes_references(self):
        held = {"flow": small_flow(), "x": POINTS.copy(), "weight": np.ones(len(POINTS))}
        history = held["flow"].fit(
            held["x"], None, held["weight"], max_iter=4, random_state=0, callback=lambda *epoch: held.clear()
        )
        np.testing.assert_allclose(history["train_nll"], trained(4)[1]["train_nll"], rtol=1e-6)


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="needs a list of the threads of a process")
class TestThreads:
    @pytest.mark.parametrize("hidden_dim", [40, 128])
    def test_no_worker_alive_in_callback(self, hidden_dim):
        flow, counts = wide_flow(4, hidden_dim), []
        flow.fit(MANY, max_iter=1)  # whatever else starts threads has done so
        before = len(os.listdir("/proc/self/task"))
        flow.fit(MANY, max_iter=4, callback=lambda *epoch: counts.append(len(os.listdir("/proc/self/task"))))
        assert counts == [before] * 4


def in_child(work):
    """What `work` returns, an array, in a forked process that has ten seconds for it."""
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 sees threads of others, such as those of a BLAS
        child = os.fork()
    if child == 0:
        try:
            signal.alarm(10)
            with os.fdopen(writer, "wb") as file:
                pickle.dump(work(), file)
            os._exit(0)
        finally:
            os._exit(1)
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        content = file.read()
    assert os.waitpid(child, 0)[1] == 0
    return pickle.loads(content)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
@pytest.mark.parametrize("n_jobs", [1, 2, 4])
class TestForks:
    @pytest.mark.parametrize("which", ["another flow", "the same flow", "a copy"])
    def test_child_trains(self, n_jobs, which):
        flow, results = wide_flow(n_jobs, 40), []

        def train():
            ours = {"another flow": lambda: wide_flow(n_jobs, 40), "the same flow": lambda: flow, "a copy": flow.copy}[which]()
            ours.fit(MANY, max_iter=3, random_state=0)
            return ours.parameters

        def callback(epoch, *nll):
            if epoch == 2:
                results.append(in_child(train))

        flow.fit(MANY, max_iter=4, random_state=0, callback=callback)
        expected = wide_flow(1, 40)
        if which != "another flow":
            expected.fit(MANY, max_iter=2, random_state=0)
        expected.fit(MANY, max_iter=3, random_state=0)
        np.testing.assert_array_equal(results[0], expected.parameters)

    def test_child_continues_training(self, n_jobs):
        reader, writer = os.pipe()
        flow, children = wide_flow(n_jobs, 40), []

        def callback(epoch, *nll):
            if epoch == 2:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", DeprecationWarning)
                    children.append(os.fork())
                if children[0] == 0:
                    signal.alarm(10)

        flow.fit(MANY, max_iter=4, random_state=0, callback=callback)
        if children[0] == 0:
            os.write(writer, flow.parameters[:100].tobytes())
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader, "rb") as file:
            content = file.read()
        assert os.waitpid(children[0], 0)[1] == 0
        np.testing.assert_array_equal(np.frombuffer(content, np.float32), flow.parameters[:100])


def test_two_threads_train_two_flows():
    expected = wide_flow(1, 40)
    expected.fit(MANY, max_iter=6, random_state=0)
    flows = [wide_flow(2, 40) for _ in range(2)]
    arguments = [{"callback": lambda *epoch: time.sleep(0)}, {}]
    threads = [
        threading.Thread(target=flow.fit, args=(MANY,), kwargs={"max_iter": 6, "random_state": 0, **more})
        for flow, more in zip(flows, arguments, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for flow in flows:
        np.testing.assert_array_equal(flow.parameters, expected.parameters)
