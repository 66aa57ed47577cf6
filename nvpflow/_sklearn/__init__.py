"""scikit-learn's conventions, without scikit-learn."""
