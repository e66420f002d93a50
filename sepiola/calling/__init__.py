"""Calls of functions, and grammars that allow nothing else: what both runtimes share. It knows neither torch nor the
rest of sepiola, and `sepiola_edge` holds the same folder.
"""
