"""Questions to a fitted density: conditionals, marginals, quantiles, regions of highest density, reasons of outliers."""
