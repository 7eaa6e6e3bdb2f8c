"""The only boto3: the calls that the product makes of AWS, and AWS's errors turned into ours. Reads only."""
