"""Makes the buckets that its arguments name, where they are not there yet."""

import sys

import boto3

client = boto3.client("s3")
for name in sys.argv[1:]:
    try:
        client.create_bucket(Bucket=name)
    except client.exceptions.BucketAlreadyOwnedByYou:
        print(f"{name} is there")
    else:
        print(f"{name} is new")
