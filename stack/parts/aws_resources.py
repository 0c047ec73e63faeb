"""Makes the archive's bucket, the Firehose stream and the bucket that the stream delivers to.

Reads S3_BUCKET, FIREHOSE_STREAM, FIREHOSE_BUCKET and what the AWS SDK reads. What is there stays.
"""

import os
import sys

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

# Never anything but a stand-in: this makes buckets.
if not os.environ.get("AWS_ENDPOINT_URL"):
    sys.exit("AWS_ENDPOINT_URL is not set")
CONFIG = Config(connect_timeout=5, read_timeout=10, retries={"max_attempts": 2})


def main() -> None:
    s3 = boto3.client("s3", config=CONFIG)
    firehose = boto3.client("firehose", config=CONFIG)
    stream, delivered = os.environ["FIREHOSE_STREAM"], os.environ["FIREHOSE_BUCKET"]

    there = {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]}
    for bucket in (os.environ["S3_BUCKET"], delivered):
        if bucket not in there:
            s3.create_bucket(Bucket=bucket)
    if stream not in firehose.list_delivery_streams()["DeliveryStreamNames"]:
        firehose.create_delivery_stream(
            DeliveryStreamName=stream,
            DeliveryStreamType="DirectPut",
            ExtendedS3DestinationConfiguration={
                "BucketARN": f"arn:aws:s3:::{delivered}",
                "RoleARN": "arn:aws:iam::123456789012:role/firehose",
            },
        )
    firehose.describe_delivery_stream(DeliveryStreamName=stream)


try:
    main()
except (BotoCoreError, ClientError) as error:
    sys.exit(f"S3 and Firehose: {error}")
