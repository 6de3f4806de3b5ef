"""Makes the tables, queues and key of template.yaml on local servers, each table and queue named by its logical id,
and the tenant whose key the events in tests/events carry.

Use: provision.py TEMPLATE DYNAMODB_URL SQS_URL
"""

import hashlib
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
# What CreateTable takes as CloudFormation does, and a local server has a use for.
OF_CREATE_TABLE = {"AttributeDefinitions", "BillingMode", "GlobalSecondaryIndexes", "KeySchema"}
START_SECONDS = 30
# Good on these servers alone: it is the key of tests/events.
DEMO_KEY = "prk_demo000000000000_0123456789abcdefghijklmnopqrstuv"


def demo_tenant(dynamodb):
    """A tenant with a key, as the registration function writes them."""
    created = 1_600_000_000_000_000
    tenant = {"id": {"S": "demo"}, "name": {"S": "Demo"}, "created_at": {"N": str(created)}}
    counters = {"last_number": {"N": "0"}, "webhook_count": {"N": "0"}}
    meta = {"pk": {"S": "tenant#demo"}, "sk": {"S": "meta"}, **tenant, **counters}
    dynamodb.put_item(TableName="WebhooksTable", Item=meta)
    dynamodb.put_item(TableName="WebhooksTable", Item={"pk": {"S": "tenants"}, "sk": {"S": "demo"}, **tenant})
    key_id = DEMO_KEY.split("_")[1]
    key = {
        "id": {"S": key_id},
        "tenant": {"S": "demo"},
        "scopes": {"L": [{"S": "publish"}, {"S": "manage"}]},
        "hash": {"S": hashlib.sha256(DEMO_KEY.encode()).hexdigest()},
        "created_at": {"S": "2020-09-13T12:26:40Z"},
    }
    for pk, sk in [(f"key#{key_id}", "key"), ("tenant#demo", f"key#{key_id}")]:
        dynamodb.put_item(TableName="KeysTable", Item={"pk": {"S": pk}, "sk": {"S": sk}, **key})


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
    kms = boto3.client("kms", endpoint_url=sqs_url, **CLIENT)
    wait_for(dynamodb.list_tables)
    wait_for(sqs.list_queues)
    for name, resource in resources.items():
        properties = resource.get("Properties", {})
        if resource["Type"] == "AWS::DynamoDB::Table":
            wanted = {key: value for key, value in properties.items() if key in OF_CREATE_TABLE}
            dynamodb.create_table(TableName=name, **wanted)
            if "TimeToLiveSpecification" in properties:
                dynamodb.update_time_to_live(
                    TableName=name, TimeToLiveSpecification=properties["TimeToLiveSpecification"]
                )
            print(f"table {name}")
        elif resource["Type"] == "AWS::SQS::Queue":
            attributes = {"VisibilityTimeout": str(properties.get("VisibilityTimeout", 30))}
            print(f"queue {sqs.create_queue(QueueName=name, Attributes=attributes)['QueueUrl']}")
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    kms.create_alias(AliasName="alias/postrider", TargetKeyId=key)
    print("key alias/postrider")
    demo_tenant(dynamodb)
    print(f"tenant demo, key {DEMO_KEY}")


if __name__ == "__main__":
    main(*sys.argv[1:])
