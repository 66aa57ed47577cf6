"""Fit and score with the worker processes of Dask: pip install nvpflow "dask[array,distributed]"."""

import dask.array
from distributed import Client, LocalCluster

import nvpflow
from nvpflow.scale.dask import sample

if __name__ == "__main__":
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster, Client(cluster):
        rows = dask.array.random.default_rng(0).normal(size=(20_000, 2), chunks=(5000, 2)).persist()
        model = nvpflow.FlowDensity(max_iter=10, random_state=0).fit(rows)

        scores = model.score_samples(rows)  # lazy, in the chunks of the rows
        print(f"mean log-density {scores.mean().compute():.3f} nats, lowest {scores.min().compute():.3f}")
        drawn = sample(model, 1_000_000, chunks=100_000)
        print(f"mean of a million samples {drawn.mean(axis=0).compute()}")
