"""Calls of functions, grammars that allow nothing else, and guesses of what follows: what both runtimes share. It knows
neither torch nor the rest of sepiola, and `sepiola_edge` holds the same folder.
"""
