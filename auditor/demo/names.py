"""The vocabulary of the made-up company: whom and what its IAM users are named after."""

DOMAIN = "larkfield.example"
"""The company's domain, under a top-level domain that is reserved for examples."""

FIRST_NAMES = (
    "aisha", "ana", "ben", "camille", "chen", "clara", "daniel", "elif", "emma", "esther", "farid", "fatima",
    "felix", "giulia", "hana", "henrik", "ines", "ivan", "jack", "jonas", "julia", "kofi", "lars", "layla", "leo",
    "lucia", "maja", "marco", "mei", "milan", "nadia", "nils", "noor", "olga", "omar", "paul", "petra", "priya",
    "quentin", "rosa", "samir", "sofia", "tariq", "theo", "uma", "vera", "viktor", "wanda", "yusuf", "zoe",
)  # fmt: skip
LAST_NAMES = (
    "adeyemi", "albrecht", "baran", "berg", "castillo", "chaudhry", "conti", "dubois", "eriksen", "farrell",
    "fischer", "garcia", "haddad", "horvat", "ito", "jansen", "kaya", "keller", "kowalski", "lindqvist", "lopez",
    "marsh", "mbeki", "moreau", "nakamura", "novak", "okafor", "oliveira", "patel", "petrov", "quinn", "rahman",
    "rossi", "santos", "schmidt", "silva", "tanaka", "toth", "ueda", "vasquez", "vogel", "walsh", "weber", "xu",
    "yilmaz", "zhang",
)  # fmt: skip

TEAMS = ("payments", "orders", "logistics", "search", "identity", "growth", "data-platform", "mobile", "finance")

SERVICES = (
    "ledger-export", "invoice-pdf", "stock-sync", "price-feed", "parcel-tracking", "search-indexer", "mail-relay",
    "session-store", "fraud-score", "refund-worker", "catalogue-import", "image-resize", "audit-trail", "backup",
    "metrics-push", "log-shipper", "webhook-relay", "tax-report", "bank-statement", "vendor-sftp", "loyalty-sync",
    "cdn-purge", "sms-gateway", "recommendation", "returns-desk", "partner-api", "warehouse-bridge", "crm-sync",
)  # fmt: skip
CI_TOOLS = ("github", "jenkins", "gitlab", "buildkite", "terraform")
REPOSITORIES = (
    "checkout", "storefront", "ledger", "mobile-app", "infra", "design-system", "search", "warehouse", "landing",
    "sdk", "docs", "analytics",
)  # fmt: skip

USED_SERVICES = (
    ("s3", None), ("dynamodb", "eu-west-1"), ("sqs", "eu-west-1"), ("ecr", "eu-west-1"), ("sts", "us-east-1"),
    ("lambda", "eu-central-1"), ("kms", "eu-west-1"), ("secretsmanager", "eu-west-1"), ("monitoring", "eu-west-1"),
    ("s3", None), ("iam", "us-east-1"), ("ses", "eu-west-1"), ("athena", "eu-central-1"),
)  # fmt: skip
"""Service and Region as last-used information names them; S3 has no Region there."""

DESCRIPTIONS = (
    "GitHub Actions deploy", "laptop, delete after migration", "cron on build-7", "do not touch - ask finance",
    "created for the auditors", "temporary!!", "vendor SFTP bridge", "local testing", "terraform state",
)  # fmt: skip
