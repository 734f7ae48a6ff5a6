"""A trained model in figures, on people it has not seen."""
