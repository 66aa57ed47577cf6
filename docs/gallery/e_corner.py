"""
A table with several columns
============================

A corner plot shows the histogram of each column and every pair of columns, of the data and of samples of the model.
"""

from sklearn.datasets import load_wine

import nvpflow
from nvpflow import plot

wine = load_wine(as_frame=True).data[["alcohol", "flavanoids", "color_intensity", "hue"]]
model = nvpflow.FlowDensity(random_state=0).fit(wine)

figure = plot.corner(wine, model.sample(len(wine)), names=list(wine.columns))
