"""Inputs from outside, damaged at random: each must end in one clear message or be right (`python -m tests.fuzz`)."""
