"""How far pictures and answers are from those that a network was evaluated on.

A reference holds how evaluation data is distributed. Whoever sees other data, such as a server,
bins it in the same way and compares.
"""
