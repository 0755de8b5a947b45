"""Searching for network, size, recipe and learning rate within a budget of time.

The search is successive halving (Karnin et al. 2013; Jamieson and Talwalkar 2016): all candidates
train for a short time, the best third of them trains on for longer, and the last one gets at least
half of the budget.
"""
