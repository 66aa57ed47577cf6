"""Missing values: samples in which some cells are not known, in training, in densities and in `impute`."""
