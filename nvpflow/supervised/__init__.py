"""What the classifier and the regressor are made of."""
