"""Log-densities of the rows of a Spark frame: pip install nvpflow pyspark pandas pyarrow, and a Java runtime."""

import os
import sys

import numpy as np
import pandas as pd

import nvpflow

os.environ.setdefault("PYSPARK_PYTHON", sys.executable)  # of the workers on this machine

from pyspark.sql import SparkSession

if __name__ == "__main__":
    rows = pd.DataFrame(np.random.default_rng(0).normal(size=(2000, 2)), columns=["a", "b"])
    model = nvpflow.FlowDensity(max_iter=20, random_state=0).fit(rows)

    spark = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").getOrCreate()
    shared = spark.sparkContext.broadcast(model)  # sent once to each worker

    def score(frames):
        for frame in frames:
            yield frame.assign(log_density=shared.value.score_samples(frame[["a", "b"]]))

    table = spark.createDataFrame(rows)
    scored = table.mapInPandas(score, "a double, b double, log_density double").toPandas()
    spark.stop()
    print(scored.nsmallest(3, "log_density"))
