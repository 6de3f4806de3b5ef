"""Makes the tables and queues of template.yaml on local servers, each named by its logical id.

Use: provision.py TEMPLATE DYNAMODB_URL SQS_URL
"""

import sys
import time

import boto3
from botocore.config import Config
from botocore.exceptions import EndpointConnectionError
from samcli.yamlhelper import yaml_parse

CLIENT = {
    "region_name": "us-east-1",
    "aws_access_key_id": "test",
    "aws_secret_access_key": "test",
    "config": Config(retries={"max_attempts": 1}, connect_timeout=2, read_timeout=10),
}
# What CloudFormation takes and CreateTable does not, or not in this shape.
NOT_OF_CREATE_TABLE = {"PointInTimeRecoverySpecification", "SSESpecification", "TimeToLiveSpecification"}
START_SECONDS = 30


def wait_for(call):
    """Repeats `call` until its server answers."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            return call()
        except EndpointConnectionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def main(template, dynamodb_url, sqs_url):
    with open(template, encoding="utf-8") as file:
        resources = yaml_parse(file.read())["Resources"]
    dynamodb = boto3.client("dynamodb", endpoint_url=dynamodb_url, **CLIENT)
    sqs = boto3.client("sqs", endpoint_url=sqs_url, **CLIENT)
    wait_for(dynamodb.list_tables)
    wait_for(sqs.list_queues)
    for name, resource in resources.items():
        properties = resource.get("Properties", {})
        if resource["Type"] == "AWS::DynamoDB::Table":
            wanted = {key: value for key, value in properties.items() if key not in NOT_OF_CREATE_TABLE}
            dynamodb.create_table(TableName=name, **wanted)
            if "TimeToLiveSpecification" in properties:
                dynamodb.update_time_to_live(
                    TableName=name, TimeToLiveSpecification=properties["TimeToLiveSpecification"]
                )
            print(f"table {name}")
        elif resource["Type"] == "AWS::SQS::Queue":
            attributes = {"VisibilityTimeout": str(properties.get("VisibilityTimeout", 30))}
            print(f"queue {sqs.create_queue(QueueName=name, Attributes=attributes)['QueueUrl']}")


if __name__ == "__main__":
    main(*sys.argv[1:])
