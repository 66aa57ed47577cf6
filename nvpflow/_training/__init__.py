"""Training of the estimators: data, units, mixtures, and the fit itself."""
