"""Files of flows and estimators, and the state dicts of PyTorch."""
