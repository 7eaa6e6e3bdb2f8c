"""A run as a bundle that others can check: its bag, signature and time stamp, and what its numbers must add up to.

What is read here was perhaps made by somebody who wants to deceive: nothing of it is run, followed or believed.
"""
