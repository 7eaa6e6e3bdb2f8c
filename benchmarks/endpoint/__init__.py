"""An endpoint for load: STS, Organizations and IAM of an organisation of any size, in a process of its own, cheaply.

It checks no signatures and holds no state but sessions, requested reports and counts: accounts, users and keys are
computed from their numbers and a seed. `with Endpoint(Settings(accounts=1000)) as endpoint:` starts one and ends it;
`python -m benchmarks.endpoint --settings '{"accounts": 5}'` serves until stdin closes.
"""

from benchmarks.endpoint.company import Company
from benchmarks.endpoint.process import CALLER_ACCESS_KEY_ID, CALLER_SECRET_ACCESS_KEY, Endpoint
from benchmarks.endpoint.settings import Fault, Rule, Settings

__all__ = ["CALLER_ACCESS_KEY_ID", "CALLER_SECRET_ACCESS_KEY", "Company", "Endpoint", "Fault", "Rule", "Settings"]
