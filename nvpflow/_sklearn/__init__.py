"""scikit-learn's conventions, implemented without scikit-learn."""
