"""The only botocore: the calls that the product makes of AWS, and AWS's errors turned into ours. Reads only."""
