"""The SMTP password of Amazon SES against what other programs derive."""

import pytest

from auditor.aws.ses import smtp_password
from auditor.secret import Secret


@pytest.mark.parametrize(
    ("secret", "region", "password"),
    [
        ("some+secret+key", "eu-central-1", "BMXhUYlu5Z3gSXVQORxlVa7XPaz91aGWdfHxvkOZdWZ2"),
        ("another+secret+key", "eu-central-1", "BBbphbrQmrKMx42d1N6+C7VINYEBGI5v9VsZeTxwskfh"),
        ("some+secret+key", "us-west-1", "BH+jbMzper5WwlwUar9E1ySBqHa9whi0GPo+sJ0mVYJj"),
    ],
)
def test_the_password_is_the_one_that_terraform_derives(secret: str, region: str, password: str) -> None:
    """The vectors of the Terraform AWS provider's own tests."""
    assert smtp_password(Secret(secret), region) == Secret(password)
