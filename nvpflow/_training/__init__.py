"""How the estimators learn: data, units, mixtures, the fit itself."""
