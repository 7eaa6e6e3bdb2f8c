"""Remediation as its commands need it: plans from runs and for persons, carried out, and what is done by hand.

Nothing here decides about a key: `auditor.remediation` does. This room brings it runs, the configuration, callers in
the accounts, and the clock.
"""
