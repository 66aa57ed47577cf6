"""Log-densities of the rows of a Ray data set: pip install nvpflow "ray[data]"."""

import numpy as np
import pandas as pd
import ray

import nvpflow


class Scorer:
    """One for each worker: the model is unpacked once, not for each batch."""

    def __init__(self, model):
        self.model = ray.get(model)

    def __call__(self, frame):
        return frame.assign(log_density=self.model.score_samples(frame[["a", "b"]]))


if __name__ == "__main__":
    rows = pd.DataFrame(np.random.default_rng(0).normal(size=(2000, 2)), columns=["a", "b"])
    model = nvpflow.FlowDensity(max_iter=20, random_state=0).fit(rows)

    ray.init(num_cpus=2, include_dashboard=False)
    dataset = ray.data.from_pandas(rows)
    scored = dataset.map_batches(
        Scorer,
        fn_constructor_args=[ray.put(model)],
        batch_format="pandas",
        batch_size=500,
        compute=ray.data.ActorPoolStrategy(size=1),  # as many as there are cores to spare
    ).to_pandas()
    ray.shutdown()
    print(scored.nsmallest(3, "log_density"))
