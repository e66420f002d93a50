"""Samples of models with random weights under constraints: whether every one of them is a valid call or value."""
